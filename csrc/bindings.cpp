// The Python module bakeoff._native: addresses, strides and shapes in, results written in place, GIL released.
//
// It is private and trusts its callers, the `native` modules in the folders of bakeoff.ops: the public functions have
// checked shapes, types and devices before.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Shape4 = std::tuple<int64_t, int64_t, int64_t, int64_t>;

using PyScan = std::tuple<Shape4, PyView, PyView, PyView, PyView, PyView, Address, Address, Address, bool, bool, int>;

template <class Problem>
Problem scan_problem(const PyScan& in) {
  Problem s;
  const auto& [shape, u, dt, Bm, Cm, z, A, skip, bias, softplus, reverse, threads] = in;
  std::tie(s.B, s.L, s.D, s.N) = shape;
  s.u = view(u), s.dt = view(dt), s.Bm = view(Bm), s.Cm = view(Cm), s.z = view(z);
  s.A = floats(A), s.skip = floats(skip), s.bias = floats(bias);
  s.softplus = softplus, s.reverse = reverse, s.threads = threads;
  return s;
}

void scan_forward(const PyScan& in, const PyView& y, Address initial, Address final, Address states, Address ungated) {
  auto s = scan_problem<bakeoff::ScanForward>(in);
  s.y = view(y);
  s.initial = floats(initial), s.final = floats(final), s.states = floats(states), s.ungated = floats(ungated);
  nb::gil_scoped_release release;
  bakeoff::active().scan_forward(s);
}

void scan_backward(const PyScan& in, const PyView& dy, Address dfinal, Address states, Address ungated,
                   const PyView& du, const PyView& ddt, const PyView& dBm, const PyView& dCm, const PyView& dz,
                   Address dA, Address dskip, Address dbias, Address dinitial) {
  auto s = scan_problem<bakeoff::ScanBackward>(in);
  s.dy = view(dy), s.dfinal = floats(dfinal), s.states = floats(states), s.ungated = floats(ungated);
  s.du = view(du), s.ddt = view(ddt), s.dBm = view(dBm), s.dCm = view(dCm), s.dz = view(dz);
  s.dA = floats(dA), s.dskip = floats(dskip), s.dbias = floats(dbias), s.dinitial = floats(dinitial);
  nb::gil_scoped_release release;
  bakeoff::active().scan_backward(s);
}

using PyConv = std::tuple<Shape4, PyView, Address, Address, bool, bool, int>;  // shape: B, L, D, K

template <class Problem>
Problem conv_problem(const PyConv& in) {
  Problem s;
  const auto& [shape, x, weight, bias, silu, reverse, threads] = in;
  int64_t taps;
  std::tie(s.B, s.L, s.D, taps) = shape;
  s.K = static_cast<int>(taps), s.x = view(x), s.weight = floats(weight), s.bias = floats(bias);
  s.silu = silu, s.reverse = reverse, s.threads = threads;
  return s;
}

void conv_forward(const PyConv& in, const PyView& y) {
  auto s = conv_problem<bakeoff::ConvForward>(in);
  s.y = view(y);
  nb::gil_scoped_release release;
  bakeoff::active().conv_forward(s);
}

void conv_backward(const PyConv& in, const PyView& dy, const PyView& dx, Address dweight, Address dbias) {
  auto s = conv_problem<bakeoff::ConvBackward>(in);
  s.dy = view(dy), s.dx = view(dx), s.dweight = floats(dweight), s.dbias = floats(dbias);
  nb::gil_scoped_release release;
  bakeoff::active().conv_backward(s);
}

using Shape7 = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;  // B, L, G, H, R, N, P
using PySsd = std::tuple<Shape7, PyView, PyView, PyView, Address, Address, Address, bool, int>;

template <class Problem>
Problem ssd_problem(const PySsd& in) {
  Problem s;
  const auto& [shape, q, k, v, log_decay, w, g, reverse, threads] = in;
  std::tie(s.B, s.L, s.G, s.H, s.R, s.N, s.P) = shape;
  s.q = view(q), s.k = view(k), s.v = view(v);
  s.log_decay = floats(log_decay), s.w = floats(w), s.g = floats(g);
  s.reverse = reverse, s.threads = threads;
  return s;
}

void ssd_forward(const PySsd& in, const PyView& y, Address initial, Address final, Address states) {
  auto s = ssd_problem<bakeoff::SsdForward>(in);
  s.y = view(y), s.initial = floats(initial), s.final = floats(final), s.states = floats(states);
  nb::gil_scoped_release release;
  bakeoff::active().ssd_forward(s);
}

void ssd_backward(const PySsd& in, const PyView& dy, Address initial, Address dfinal, Address states, const PyView& dq,
                  const PyView& dk, int64_t part, const PyView& dv, Address dlog_decay, Address dw, Address dg,
                  Address dinitial) {
  auto s = ssd_problem<bakeoff::SsdBackward>(in);
  s.dy = view(dy), s.initial = floats(initial), s.dfinal = floats(dfinal), s.states = floats(states);
  s.dq = view(dq), s.dk = view(dk), s.part = part, s.dv = view(dv);
  s.dlog_decay = floats(dlog_decay), s.dw = floats(dw), s.dg = floats(dg), s.dinitial = floats(dinitial);
  nb::gil_scoped_release release;
  bakeoff::active().ssd_backward(s);
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const auto* kernels : bakeoff::available()) names.push_back(kernels->name);
  return names;
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "CPU kernels of bakeoff. Private: use bakeoff.ops.";
  m.attr("CHUNK") = bakeoff::kChunk;
  m.attr("PAD") = bakeoff::kPad;
  m.attr("MAX_TAPS") = bakeoff::kMaxTaps;
  m.def("scan_forward", &scan_forward);
  m.def("scan_backward", &scan_backward);
  m.def("conv_forward", &conv_forward);
  m.def("conv_backward", &conv_backward);
  m.def("ssd_forward", &ssd_forward);
  m.def("ssd_backward", &ssd_backward);
  m.def("ssd_chunks", &bakeoff::ssd_chunks, "L"_a, "R"_a, "Chunks of a sequence.");
  m.def("ssd_heads", &bakeoff::ssd_heads, "B"_a, "G"_a, "H"_a, "Heads that share one sum of dq and dk.");
  bind_fused(m);
  bind_steps(m);
  m.def("instruction_sets", &instruction_sets, "Those compiled in and run by this processor, slowest first.");
  m.def("active", [] { return std::string(bakeoff::active().name); }, "The instruction set in use.");
  m.def("use", &bakeoff::use, "name"_a, "Selects an instruction set; ValueError names those available.");
  m.def("probe", [](int64_t rounds) { return bakeoff::active().probe(rounds); }, "rounds"_a,
        nb::call_guard<nb::gil_scoped_release>(),
        "Runs multiply-adds at the peak rate of one core; returns how many, counted per lane.");
}
