// The one source of all kernels, compiled once per instruction set in a namespace of its own.
//
// Nothing here may use a function template of the standard library: the linker would keep one compiled copy
// for all instruction sets, possibly one with instructions that an older processor lacks.
#include "api.h"
#include "threads.h"

namespace bakeoff {
namespace KERNEL_NAMESPACE {
namespace {

#include "math.inl"
#include "rows.inl"
#include "scan.inl"
#include "scan_backward.inl"
#include "conv.inl"
#include "product.inl"
#include "ssd_chunk.inl"
#include "ssd.inl"
#include "ssd_backward.inl"
#include "gemv.inl"
#include "step_parts.inl"
#include "around.inl"
#include "norm.inl"
#include "gate.inl"
#include "turn.inl"
#include "heads.inl"
#include "step_mamba.inl"
#include "step_mamba2.inl"
#include "step_mamba3.inl"
#include "step_attention.inl"
#include "step_mlp.inl"
#include "step_gru.inl"
#include "probe.inl"

}  // namespace

#define NAME_OF(x) #x
#define EXPAND_NAME(x) NAME_OF(x)

extern const Kernels kernels;
const Kernels kernels = {EXPAND_NAME(KERNEL_NAMESPACE), Vec::width, scan_forward, scan_backward,
                         conv_forward,                  conv_backward, ssd_forward,  ssd_backward,
                         {mamba_step, mamba2_step, mamba3_step, attention_step, mlp_step, gru_step},
                         {norm_forward, norm_backward, residual_forward, residual_backward, gate_forward, gate_backward,
                          heads_forward, heads_backward, turn_forward, turn_backward, ranks_forward, ranks_backward},
                         probe};

}  // namespace KERNEL_NAMESPACE
}  // namespace bakeoff
