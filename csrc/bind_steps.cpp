// The steps in the Python module bakeoff._native: sizes and addresses in, y and the states written in place.
//
// The addresses come in the order of the tuples in bakeoff.ops.step, 0 for an absent array; shapes were checked there.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>

#include <tuple>

#include "bindings.h"
#include "dispatch.h"

namespace nb = nanobind;

namespace {

using namespace bakeoff;
template <size_t n>
using Addresses = std::array<uintptr_t, n>;
template <size_t n>
using Sizes = std::array<int64_t, n>;

// The addresses one after the other, as what each is assigned to.
struct Next {
  const uintptr_t* at;

  template <class T>
  operator T*() {
    return reinterpret_cast<T*>(*at++);
  }
};

template <class S>
Next begin(S& s, const uintptr_t* at, uintptr_t y, int threads) {
  Next next{at};
  s.x = next, s.y = reinterpret_cast<float*>(y), s.threads = threads;
  return next;
}

void mamba(const Sizes<6>& sizes, const Addresses<14>& at, uintptr_t y, int rule, int threads) {
  MambaStep s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E, s.N, s.K, s.R) = std::tuple_cat(sizes);
  s.rule = static_cast<Rule>(rule);
  s.inputs = next, s.state = next, s.in_proj = next, s.conv_weight = next, s.conv_bias = next;
  s.x_proj = next, s.dt_proj = next, s.fixed_B = next, s.fixed_C = next;
  s.dt_bias = next, s.A_log = next, s.skip = next, s.out_proj = next;
  nb::gil_scoped_release release;
  active().steps.mamba(s);
}

void mamba2(const Sizes<7>& sizes, const Addresses<11>& at, uintptr_t y, float eps, int threads) {
  Mamba2Step s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E, s.N, s.K, s.H, s.G) = std::tuple_cat(sizes);
  s.eps = eps;
  s.inputs = next, s.state = next, s.in_proj = next, s.conv_weight = next, s.conv_bias = next;
  s.dt_bias = next, s.A_log = next, s.skip = next, s.norm = next, s.out_proj = next;
  nb::gil_scoped_release release;
  active().steps.mamba2(s);
}

void mamba3(const Sizes<8>& sizes, const Addresses<17>& at, uintptr_t y, bool trapezoid, bool heavy_tail, float slowest,
            float eps, int threads) {
  Mamba3Step s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E, s.N, s.H, s.G, s.R, s.S) = std::tuple_cat(sizes);
  s.trapezoid = trapezoid, s.heavy_tail = heavy_tail, s.slowest = slowest, s.eps = eps;
  s.state = next, s.k = next, s.v = next, s.angle = next, s.in_proj = next, s.dt_bias = next;
  s.B_bias = next, s.C_bias = next, s.B_norm = next, s.C_norm = next;
  s.mimo_x = next, s.mimo_z = next, s.mimo_o = next, s.skip = next, s.norm = next, s.out_proj = next;
  nb::gil_scoped_release release;
  active().steps.mamba3(s);
}

void attention(const Sizes<7>& sizes, const Addresses<9>& at, uintptr_t y, bool slides, float eps, int threads) {
  AttentionStep s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E, s.H, s.G, s.T, s.capacity) = std::tuple_cat(sizes);
  s.slides = slides, s.eps = eps;
  s.cache = next, s.turns = next, s.qkv = next, s.qkv_bias = next, s.q_norm = next, s.k_norm = next;
  s.out_proj = next, s.out_bias = next;
  nb::gil_scoped_release release;
  active().steps.attention(s);
}

void mlp(const Sizes<3>& sizes, const Addresses<6>& at, uintptr_t y, int threads) {
  MlpStep s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E) = std::tuple_cat(sizes);
  s.gate = next, s.up = next, s.up_bias = next, s.down = next, s.down_bias = next;
  nb::gil_scoped_release release;
  active().steps.mlp(s);
}

void gru(const Sizes<3>& sizes, const Addresses<7>& at, uintptr_t y, int threads) {
  GruStep s;
  auto next = begin(s, at.data(), y, threads);
  std::tie(s.B, s.D, s.E) = std::tuple_cat(sizes);
  s.state = next, s.weight_ih = next, s.weight_hh = next, s.bias_ih = next, s.bias_hh = next, s.out_proj = next;
  nb::gil_scoped_release release;
  active().steps.gru(s);
}

}  // namespace

void bind_steps(nb::module_& m) {
  m.def("mamba_step", &mamba);
  m.def("mamba2_step", &mamba2);
  m.def("mamba3_step", &mamba3);
  m.def("attention_step", &attention);
  m.def("mlp_step", &mlp);
  m.def("gru_step", &gru);
}
