// What stands around mixers and scans in the Python module bakeoff._native: shapes, views and addresses in, results in place.
//
// It trusts its callers in bakeoff.ops.fused, which have checked shapes, types and devices.
#include "bindings.h"
#include "dispatch.h"

namespace nb = nanobind;

namespace {

using namespace bakeoff;

using Sizes = std::tuple<int64_t, int64_t, int64_t>;                   // B, L, D
using PyNorm = std::tuple<Sizes, bool, float, PyView, PyView, int>;  // sizes, centred, eps, x, factor, threads

template <class Problem>
Problem norm_problem(const PyNorm& given) {
  Problem s;
  const auto& [sizes, centred, eps, x, factor, threads] = given;
  std::tie(s.B, s.L, s.D) = sizes;
  s.centred = centred, s.eps = eps, s.x = view(x), s.factor = view(factor), s.threads = threads;
  return s;
}

void norm_forward(const PyNorm& given, const PyView& shift, const PyView& out) {
  auto s = norm_problem<NormForward>(given);
  s.shift = view(shift), s.out = view(out);
  nb::gil_scoped_release release;
  active().fused.norm_forward(s);
}

void norm_backward(const PyNorm& given, const PyView& dout, const PyView& dx, Address dfactor, Address dshift) {
  auto s = norm_problem<NormBackward>(given);
  s.dout = view(dout), s.dx = view(dx), s.dfactor = floats(dfactor), s.dshift = floats(dshift);
  nb::gil_scoped_release release;
  active().fused.norm_backward(s);
}

using PyResidual = std::tuple<Sizes, PyView, PyView, int>;  // sizes, y, gate, threads

template <class Problem>
Problem residual_problem(const PyResidual& given) {
  Problem s;
  const auto& [sizes, y, gate, threads] = given;
  std::tie(s.B, s.L, s.D) = sizes;
  s.y = view(y), s.gate = view(gate), s.threads = threads;
  return s;
}

void residual_forward(const PyResidual& given, const PyView& x, const PyView& out) {
  auto s = residual_problem<ResidualForward>(given);
  s.x = view(x), s.out = view(out);
  nb::gil_scoped_release release;
  active().fused.residual_forward(s);
}

void residual_backward(const PyResidual& given, const PyView& dout, const PyView& dy, Address dgate) {
  auto s = residual_problem<ResidualBackward>(given);
  s.dout = view(dout), s.dy = view(dy), s.dgate = floats(dgate);
  nb::gil_scoped_release release;
  active().fused.residual_backward(s);
}

// Sizes, groups, eps; y, x, z; D; the three scales; the norm's weight; threads.
using GateSizes = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>;  // B, L, H, R, P
using Scales = std::tuple<Address, Address, Address>;
using PyGate = std::tuple<GateSizes, int64_t, float, PyView, PyView, PyView, Address, Scales, Address, int>;

template <class Problem>
Problem gate_problem(const PyGate& given) {
  Problem s;
  const auto& [sizes, groups, eps, y, x, z, skip, scales, norm, threads] = given;
  std::tie(s.B, s.L, s.H, s.R, s.P) = sizes;
  s.groups = groups, s.eps = eps, s.y = view(y), s.x = view(x), s.z = view(z), s.skip = floats(skip);
  const auto& [in, by, of] = scales;
  s.in = floats(in), s.by = floats(by), s.of = floats(of), s.norm = floats(norm), s.threads = threads;
  return s;
}

void gate_forward(const PyGate& given, const PyView& out) {
  auto s = gate_problem<GateForward>(given);
  s.out = view(out);
  nb::gil_scoped_release release;
  active().fused.gate_forward(s);
}

void gate_backward(const PyGate& given, const PyView& dout, const PyView& dy, const PyView& dx, const PyView& dz,
                   Address dskip, const Scales& dscales, Address dnorm) {
  auto s = gate_problem<GateBackward>(given);
  s.dout = view(dout), s.dy = view(dy), s.dx = view(dx), s.dz = view(dz), s.dskip = floats(dskip);
  const auto& [din, dby, dof] = dscales;
  s.din = floats(din), s.dby = floats(dby), s.dof = floats(dof), s.dnorm = floats(dnorm);
  nb::gil_scoped_release release;
  active().fused.gate_backward(s);
}

// B, L, H, P; eps; x, the norm's weight, cosines, sines; threads.
using HeadsSizes = std::tuple<int64_t, int64_t, int64_t, int64_t>;
using PyHeads = std::tuple<HeadsSizes, float, PyView, Address, Address, Address, int>;

template <class Problem>
Problem heads_problem(const PyHeads& given) {
  Problem s;
  const auto& [sizes, eps, x, norm, cosines, sines, threads] = given;
  std::tie(s.B, s.L, s.H, s.P) = sizes;
  s.eps = eps, s.x = view(x), s.norm = floats(norm), s.cosines = floats(cosines), s.sines = floats(sines);
  s.threads = threads;
  return s;
}

void heads_forward(const PyHeads& given, const PyView& out) {
  auto s = heads_problem<HeadsForward>(given);
  s.out = view(out);
  nb::gil_scoped_release release;
  active().fused.heads_forward(s);
}

void heads_backward(const PyHeads& given, const PyView& dout, const PyView& dx, Address dnorm) {
  auto s = heads_problem<HeadsBackward>(given);
  s.dout = view(dout), s.dx = view(dx), s.dnorm = floats(dnorm);
  nb::gil_scoped_release release;
  active().fused.heads_backward(s);
}

using TurnSizes = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;  // B, L, G, H, R, N, S
using PyTurn = std::tuple<TurnSizes, Address, int>;  // sizes, angles, threads

template <class Problem>
Problem turn_problem(const PyTurn& given) {
  Problem s;
  const auto& [sizes, angle, threads] = given;
  std::tie(s.B, s.L, s.G, s.H, s.R, s.N, s.S) = sizes;
  s.angle = floats(angle), s.threads = threads;
  return s;
}

void turn_forward(const PyTurn& given, const PyView& q, const PyView& k, Address q_bias, Address k_bias,
                  const PyView& q_turned, const PyView& k_turned) {
  auto s = turn_problem<TurnForward>(given);
  s.q = view(q), s.k = view(k), s.q_bias = floats(q_bias), s.k_bias = floats(k_bias);
  s.q_turned = view(q_turned), s.k_turned = view(k_turned);
  nb::gil_scoped_release release;
  active().fused.turn_forward(s);
}

void turn_backward(const PyTurn& given, const PyView& q_turned, const PyView& k_turned, const PyView& dq_turned,
                   const PyView& dk_turned, const PyView& dq, const PyView& dk, Address dq_bias, Address dk_bias,
                   Address dangle) {
  auto s = turn_problem<TurnBackward>(given);
  s.q_turned = view(q_turned), s.k_turned = view(k_turned);
  s.dq_turned = view(dq_turned), s.dk_turned = view(dk_turned), s.dq = view(dq), s.dk = view(dk);
  s.dq_bias = floats(dq_bias), s.dk_bias = floats(dk_bias), s.dangle = floats(dangle);
  nb::gil_scoped_release release;
  active().fused.turn_backward(s);
}

using PyRanks = std::tuple<GateSizes, PyView, Address, int>;  // B, L, H, R, P; x, scales, threads

template <class Problem>
Problem ranks_problem(const PyRanks& given) {
  Problem s;
  const auto& [sizes, x, scale, threads] = given;
  std::tie(s.B, s.L, s.H, s.R, s.P) = sizes;
  s.x = view(x), s.scale = floats(scale), s.threads = threads;
  return s;
}

void ranks_forward(const PyRanks& given, const PyView& v) {
  auto s = ranks_problem<RanksForward>(given);
  s.v = view(v);
  nb::gil_scoped_release release;
  active().fused.ranks_forward(s);
}

void ranks_backward(const PyRanks& given, const PyView& dv, const PyView& dx, Address dscale) {
  auto s = ranks_problem<RanksBackward>(given);
  s.dv = view(dv), s.dx = view(dx), s.dscale = floats(dscale);
  nb::gil_scoped_release release;
  active().fused.ranks_backward(s);
}

}  // namespace

void bind_fused(nb::module_& m) {
  m.def("norm_forward", &norm_forward);
  m.def("norm_backward", &norm_backward);
  m.def("residual_forward", &residual_forward);
  m.def("residual_backward", &residual_backward);
  m.def("gate_forward", &gate_forward);
  m.def("gate_backward", &gate_backward);
  m.def("heads_forward", &heads_forward);
  m.def("heads_backward", &heads_backward);
  m.def("turn_forward", &turn_forward);
  m.def("turn_backward", &turn_backward);
  m.def("ranks_forward", &ranks_forward);
  m.def("ranks_backward", &ranks_backward);
}
