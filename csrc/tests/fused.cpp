// Runs what stands around mixers and scans over many shapes under the sanitizers: results are written, finite and the same for
// any number of threads, and the simplest of them, the values of each rank, are those of a plain loop.
#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "checks.h"

using namespace bakeoff;

namespace {

struct Shape {
  int64_t B, L, G, H, R, P, N, S;
  bool bf16, odd;
};

// Sequences of exactly the size that a shape needs, and what a run writes, which is to be compared.
class Sequences {
 public:
  explicit Sequences(const Shape& p) : p_(p) {}

  View in(int64_t width) {
    kept_.push_back(random(p_.B * p_.L * (p_.bf16 ? (width + 1) / 2 : width), -1, 1));
    return view(kept_.back(), width);
  }
  View out(int64_t width, bool bf16) {
    written_.push_back(Array(static_cast<size_t>((p_.B * p_.L * width + bf16) / (bf16 ? 2 : 1)), NAN));
    return {written_.back().data(), p_.L * width, width, bf16};
  }
  const float* parameter(int64_t size, float low = -1, float high = 1) {
    kept_.push_back(random(size, low, high));
    return kept_.back().data();
  }
  float* sum(int64_t size) {
    written_.push_back(Array(static_cast<size_t>(size), NAN));
    return written_.back().data();
  }

  // Every byte of all results.
  std::vector<unsigned char> results(const char* name) const {
    std::vector<unsigned char> all;
    for (const Array& x : written_) {
      for (float v : x) {
        if (!p_.bf16 && !std::isfinite(v)) fail(std::string(name) + ": a result is not written or not finite");
      }
      const auto* bytes = reinterpret_cast<const unsigned char*>(x.data());
      all.insert(all.end(), bytes, bytes + 4 * x.size());
    }
    return all;
  }

 private:
  View view(Array& x, int64_t width) {
    if (p_.bf16) {  // the same bytes, read as numbers between -1 and 1
      for (float& v : x) {
        const uint16_t half = v < 0 ? 0xbf20 : 0x3e91;
        std::memcpy(&v, &half, 2), std::memcpy(reinterpret_cast<char*>(&v) + 2, &half, 2);
      }
    }
    return {x.data(), p_.L * width, width, p_.bf16};
  }

  Shape p_;
  std::deque<Array> kept_, written_;
};

std::vector<unsigned char> run_gate(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(4);
  Sequences all(p);
  const int64_t E = p.H * p.P, RE = p.R * E;
  Gate s;
  s.B = p.B, s.L = p.L, s.H = p.H, s.R = p.R, s.P = p.P, s.threads = threads;
  s.y = all.in(RE), s.z = all.in(E);
  if (!p.odd) s.x = all.in(E), s.skip = all.parameter(p.H);
  if (p.R > 1) s.in = all.parameter(RE), s.by = all.parameter(RE), s.of = all.parameter(RE);
  if (p.odd) s.norm = all.parameter(E), s.groups = p.G, s.eps = 1e-5f;
  GateForward f;
  static_cast<Gate&>(f) = s;
  f.out = all.out(E, p.bf16);
  kernels.fused.gate_forward(f);
  GateBackward g;
  static_cast<Gate&>(g) = s;
  g.dout = all.in(E), g.dy = all.out(RE, p.bf16), g.dz = all.out(E, p.bf16);
  if (s.skip) g.dx = all.out(E, p.bf16), g.dskip = all.sum(p.H);
  if (s.in) g.din = all.sum(RE), g.dby = all.sum(RE), g.dof = all.sum(RE);
  if (s.norm) g.dnorm = all.sum(E);
  kernels.fused.gate_backward(g);
  return all.results("gate");
}

std::vector<unsigned char> run_turn(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(5);
  Sequences all(p);
  const int64_t shared = p.G * p.R * p.N, own = p.H * p.R * p.N;
  Turn s;
  s.B = p.B, s.L = p.L, s.G = p.G, s.H = p.H, s.R = p.R, s.N = p.N, s.S = p.S, s.threads = threads;
  s.angle = all.parameter(p.B * p.L * p.H * p.S, 0, 6.28f);
  TurnForward f;
  static_cast<Turn&>(f) = s;
  f.q = all.in(shared), f.k = all.in(shared);
  if (p.odd) f.q_bias = all.parameter(own), f.k_bias = all.parameter(own);
  f.q_turned = all.out(own, false), f.k_turned = all.out(own, false);
  kernels.fused.turn_forward(f);
  TurnBackward g;
  static_cast<Turn&>(g) = s;
  g.q_turned = f.q_turned, g.k_turned = f.k_turned, g.dq_turned = all.in(own), g.dk_turned = all.in(own);
  g.dq = all.out(shared, p.bf16), g.dk = all.out(shared, p.bf16), g.dangle = all.sum(p.B * p.L * p.H * p.S);
  if (p.odd) g.dq_bias = all.sum(own), g.dk_bias = all.sum(own);
  kernels.fused.turn_backward(g);
  return all.results("turn");
}

std::vector<unsigned char> run_ranks(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(6);
  Sequences all(p);
  const int64_t E = p.H * p.P, RE = p.R * E;
  Ranks s;
  s.B = p.B, s.L = p.L, s.H = p.H, s.R = p.R, s.P = p.P, s.threads = threads;
  s.x = all.in(E), s.scale = all.parameter(RE);
  RanksForward f;
  static_cast<Ranks&>(f) = s;
  f.v = all.out(RE, p.bf16);
  kernels.fused.ranks_forward(f);
  RanksBackward g;
  static_cast<Ranks&>(g) = s;
  g.dv = all.in(RE), g.dx = all.out(E, p.bf16), g.dscale = all.sum(RE);
  kernels.fused.ranks_backward(g);
  const auto *x = static_cast<const float*>(s.x.data), *v = static_cast<const float*>(f.v.data);
  for (int64_t i = 0; !p.bf16 && i < p.B * p.L * RE; ++i) {
    const int64_t token = i / RE, head = i % RE / (p.R * p.P), c = i % p.P;
    if (v[i] != x[token * E + head * p.P + c] * s.scale[i % RE]) fail("ranks_forward is wrong");
  }
  return all.results("ranks");
}

std::vector<unsigned char> run_heads(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(7);
  Sequences all(p);
  const int64_t P = 2 * p.P, E = p.H * P;
  Heads s;
  s.B = p.B, s.L = p.L, s.H = p.H, s.P = P, s.threads = threads, s.eps = 1e-6f;
  s.x = all.in(E);
  if (p.odd) s.norm = all.parameter(P);
  if (p.R > 1 || !p.odd) s.cosines = all.parameter(p.L * p.P), s.sines = all.parameter(p.L * p.P);
  HeadsForward f;
  static_cast<Heads&>(f) = s;
  f.out = all.out(E, p.bf16);
  kernels.fused.heads_forward(f);
  HeadsBackward g;
  static_cast<Heads&>(g) = s;
  g.dout = all.in(E), g.dx = all.out(E, p.bf16);
  if (s.norm) g.dnorm = all.sum(P);
  kernels.fused.heads_backward(g);
  return all.results("heads");
}

std::vector<unsigned char> run_branch(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(8);
  Sequences all(p), own({p.B, 1, p.G, p.H, p.R, p.P, p.N, p.S, p.bf16, p.odd});
  const int64_t D = p.H * p.P;
  Norm s;
  s.B = p.B, s.L = p.L, s.D = D, s.threads = threads, s.centred = p.odd, s.eps = 1e-5f;
  s.x = all.in(D), s.factor = own.in(D);
  NormForward f;
  static_cast<Norm&>(f) = s;
  if (p.R > 1) f.shift = own.in(D);
  f.out = all.out(D, p.bf16);
  kernels.fused.norm_forward(f);
  NormBackward g;
  static_cast<Norm&>(g) = s;
  g.dout = all.in(D), g.dx = all.out(D, p.bf16), g.dfactor = all.sum(p.B * D);
  if (p.R > 1) g.dshift = all.sum(p.B * D);
  kernels.fused.norm_backward(g);

  Residual r;
  r.B = p.B, r.L = p.L, r.D = D, r.threads = threads, r.y = all.in(D), r.gate = own.in(D);
  ResidualForward rf;
  static_cast<Residual&>(rf) = r;
  rf.x = s.x, rf.out = all.out(D, p.bf16);
  kernels.fused.residual_forward(rf);
  ResidualBackward rb;
  static_cast<Residual&>(rb) = r;
  rb.dout = g.dout, rb.dy = all.out(D, p.bf16), rb.dgate = all.sum(p.B * D);
  kernels.fused.residual_backward(rb);
  return all.results("branch");
}

}  // namespace

int check_fused(const Kernels& kernels) {
  int cases = 0;
  for (int64_t L : {1, 63, 64, 65, 130}) {
    for (int64_t P : {1, 5, 16, 33}) {
      for (int64_t N : {4, 10, 33}) {
        const int64_t G = 1 + cases % 2, H = G * (1 + cases % 3), R = 1 + cases % 4, S = cases % 5 ? N / 4 : N / 2;
        // large enough that the work is shared out in some of them
        const Shape p{1 + cases % 30, L, G, H, R, P, N, S, cases % 4 == 1, cases % 3 == 0};
        if (run_gate(kernels, p, 1) != run_gate(kernels, p, 3)) fail("gate depends on threads");
        if (run_turn(kernels, p, 1) != run_turn(kernels, p, 3)) fail("turn depends on threads");
        if (run_ranks(kernels, p, 1) != run_ranks(kernels, p, 3)) fail("ranks depend on threads");
        if (run_heads(kernels, p, 1) != run_heads(kernels, p, 3)) fail("heads depend on threads");
        if (run_branch(kernels, p, 1) != run_branch(kernels, p, 3)) fail("norm or gated sum depends on threads");
        ++cases;
      }
    }
  }
  return cases;
}
