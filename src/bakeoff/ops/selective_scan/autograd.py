"""The scan's compiled kernels in eager mode: thin autograd functions around them.

Under torch.compile and dispatch modes the registered operator of `library` serves instead; in eager mode its boxed
dispatch would cost tens of microseconds a call.

Shapes: B batch, L tokens, D channels, N states.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, differentiated, refuse_duals, refused, traced
from bakeoff.ops.selective_scan import launch, library
from bakeoff.ops.selective_scan.inputs import ScanInputs
from bakeoff.ops.selective_scan.launch import ScanKernels
from bakeoff.ops.tensors import optional, parameter


def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None,
    z_BLD: Tensor | None,
    dt_bias_D: Tensor | None,
    initial_BDN: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
    want_final: bool,
) -> tuple[Tensor, Tensor | None]:
    """y_BLD in u's dtype, and the final state if wanted."""
    kernels = launch.kernels(u_BLD)
    x = ScanInputs(
        u_BLD=kernels.sequence(u_BLD),
        dt_BLD=kernels.sequence(dt_BLD),
        A_DN=parameter(A_DN),
        B_BLN=kernels.sequence(B_BLN),
        C_BLN=kernels.sequence(C_BLN),
        D_D=optional(parameter, D_D),
        z_BLD=optional(kernels.sequence, z_BLD),
        dt_bias_D=optional(parameter, dt_bias_D),
        initial_BDN=optional(parameter, initial_BDN),
    )
    if traced():
        refuse_duals("selective_scan", x)
        y_BLD, final_BDN = library.scan(*x, dt_softplus, reverse, want_final)
    elif differentiated(x):
        y_BLD, final_BDN = _Scan.apply(kernels, *x, dt_softplus, reverse, want_final)
    else:
        y_BLD, final_BDN, *_ = kernels.forward(x, dt_softplus, reverse, want_final, False)
    return y_BLD.to(u_BLD.dtype), final_BDN


class _Scan(Function):
    jvp = refused(NO_FORWARD_MODE, "selective_scan")

    @staticmethod
    def forward(ctx: Any, kernels: ScanKernels, *arguments: Any) -> tuple[Tensor, Tensor | None]:
        x, (dt_softplus, reverse, want_final) = ScanInputs(*arguments[:9]), arguments[9:]
        y_BLD, final_BDN, *saved = kernels.forward(x, dt_softplus, reverse, want_final, True)
        ctx.save_for_backward(*x, *saved)
        ctx.kernels, ctx.flags = kernels, (dt_softplus, reverse)
        ctx.set_materialize_grads(False)
        return y_BLD, final_BDN

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(g is None for g in grads):
            return (None,) * 13
        return None, *_ScanBackward.apply(ctx.kernels, *grads, *ctx.flags, *ctx.saved_tensors), None, None, None


class _ScanBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "selective_scan")

    @staticmethod
    def forward(
        ctx: Any, kernels: ScanKernels, dy_BLD: Tensor | None, dfinal_BDN: Tensor | None, *arguments: Any
    ) -> ScanInputs:
        (dt_softplus, reverse), x, (states, ungated) = arguments[:2], ScanInputs(*arguments[2:11]), arguments[11:]
        dy_BLD = torch.zeros_like(x.u_BLD) if dy_BLD is None else dy_BLD
        return kernels.backward(x, dt_softplus, reverse, states, ungated, dy_BLD, dfinal_BDN)
