// Runs every kernel of every instruction set over many shapes under the sanitizers.
//
// Buffers have exactly the size that a shape needs, so that an access outside a tensor is outside its allocation. The
// driver checks forward against a plain double loop, that one and three threads give equal results, and that all
// results are written.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "checks.h"

using namespace bakeoff;

namespace {

// A (B, L, width) tensor of fp32 or bf16 whose rows lie `gap` elements further apart than they are wide.
struct Sequence {
  int64_t B, L, width, row;
  bool bf16;
  std::vector<unsigned char> bytes;

  Sequence(int64_t B, int64_t L, int64_t width, bool bf16 = false, int64_t gap = 0)
      : B(B), L(L), width(width), row(width + gap), bf16(bf16) {
    bytes.assign(static_cast<size_t>((bf16 ? 2 : 4) * (B * L * row - gap)), 0xff);  // NaN: not written
  }

  float at(int64_t b, int64_t t, int64_t i) const {
    const int64_t index = (b * L + t) * row + i;
    float x = 0.0f;
    if (bf16) {
      std::memcpy(reinterpret_cast<unsigned char*>(&x) + 2, &bytes[2 * index], 2);
    } else {
      std::memcpy(reinterpret_cast<unsigned char*>(&x), &bytes[4 * index], 4);
    }
    return x;
  }

  Sequence& fill(float low, float high) {
    std::uniform_real_distribution<float> draw(low, high);
    for (int64_t r = 0; r < B * L; ++r) {
      for (int64_t i = 0; i < width; ++i) {
        const float x = draw(generator);
        const auto* source = reinterpret_cast<const unsigned char*>(&x);
        if (bf16) {
          std::memcpy(&bytes[2 * (r * row + i)], source + 2, 2);
        } else {
          std::memcpy(&bytes[4 * (r * row + i)], source, 4);
        }
      }
    }
    return *this;
  }

  void written(const char* name) const {
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < L; ++t) {
        for (int64_t i = 0; i < width; ++i) {
          if (!std::isfinite(at(b, t, i))) fail(std::string(name) + " is not written or not finite");
        }
      }
    }
  }

  View view() { return {bytes.data(), L * row, row, bf16}; }
};

struct Shape {
  int64_t B, L, D, N;
  bool reverse, softplus, bf16, optional;
};

double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

void check_forward(const Shape& p, const Sequence& u, const Sequence& dt, const Sequence& Bm, const Sequence& Cm,
                   const Sequence& z, const Array& A, const Array& D, const Array& bias, const Array& initial,
                   const Sequence& y) {
  double error = 0, norm = 0;
  std::vector<double> h(static_cast<size_t>(p.N));
  for (int64_t b = 0; b < p.B; ++b) {
    for (int64_t d = 0; d < p.D; ++d) {
      for (int64_t n = 0; n < p.N; ++n) h[n] = p.optional ? initial[(b * p.D + d) * p.N + n] : 0.0;
      for (int64_t s = 0; s < p.L; ++s) {
        const int64_t t = p.reverse ? p.L - 1 - s : s;
        double step = dt.at(b, t, d) + (p.optional ? bias[d] : 0.0f);
        if (p.softplus) step = softplus(step);
        double sum = p.optional ? double(D[d]) * u.at(b, t, d) : 0.0;
        for (int64_t n = 0; n < p.N; ++n) {
          h[n] = std::exp(step * A[d * p.N + n]) * h[n] + step * u.at(b, t, d) * Bm.at(b, t, n);
          sum += h[n] * Cm.at(b, t, n);
        }
        if (p.optional) sum *= z.at(b, t, d) / (1 + std::exp(-double(z.at(b, t, d))));
        error += (y.at(b, t, d) - sum) * (y.at(b, t, d) - sum);
        norm += sum * sum;
      }
    }
  }
  if (std::sqrt(error) > (p.bf16 ? 4e-3 : 2e-6) * std::sqrt(norm) + 1e-7) fail("scan_forward is inaccurate");
}

// Runs forward and backward; returns every byte of every result.
std::vector<unsigned char> run_scan(const Kernels& kernels, const Shape& p, int threads) {
  generator.seed(1);
  const int64_t gap = p.reverse ? 3 : 0;
  auto sequence = [&](int64_t width) { return Sequence(p.B, p.L, width, p.bf16, gap); };
  Sequence u = sequence(p.D), dt = sequence(p.D), z = sequence(p.D), Bm = sequence(p.N), Cm = sequence(p.N);
  Sequence dy = sequence(p.D), y(p.B, p.L, p.D, p.bf16), du = y, ddt = y, dz = y, dB(p.B, p.L, p.N, p.bf16), dC = dB;
  u.fill(-1, 1), z.fill(-2, 2), Bm.fill(-1, 1), Cm.fill(-1, 1), dy.fill(-1, 1);
  p.softplus ? dt.fill(-4, 1) : dt.fill(0, 1);
  Array A = random(p.D * p.N, p.reverse ? -200.0f : -4.0f, -0.1f), D = random(p.D, -1, 1), bias = random(p.D, 0, 0.5f);
  Array initial = random(p.B * p.D * p.N, -1, 1), dfinal = random(p.B * p.D * p.N, -1, 1);
  Array final(initial.size(), NAN), dinitial(initial.size(), NAN), dA(A.size(), NAN), dD(D.size(), NAN), dbias = dD;
  Array states(static_cast<size_t>(p.B * chunks(p.L) * padded(p.D) * p.N), NAN);
  Array ungated(static_cast<size_t>(p.B * p.L * p.D), NAN);

  Scan s;
  s.B = p.B, s.L = p.L, s.D = p.D, s.N = p.N, s.reverse = p.reverse, s.softplus = p.softplus, s.threads = threads;
  s.u = u.view(), s.dt = dt.view(), s.Bm = Bm.view(), s.Cm = Cm.view(), s.A = A.data();
  if (p.optional) s.z = z.view(), s.skip = D.data(), s.bias = bias.data();

  ScanForward f;
  static_cast<Scan&>(f) = s;
  f.y = y.view(), f.states = states.data();
  if (p.optional) f.initial = initial.data(), f.final = final.data(), f.ungated = ungated.data();
  kernels.scan_forward(f);
  y.written("y");
  check_forward(p, u, dt, Bm, Cm, z, A, D, bias, initial, y);

  ScanBackward g;
  static_cast<Scan&>(g) = s;
  g.dy = dy.view(), g.states = states.data();
  g.du = du.view(), g.ddt = ddt.view(), g.dBm = dB.view(), g.dCm = dC.view(), g.dA = dA.data();
  if (p.optional) {
    g.ungated = ungated.data(), g.dfinal = dfinal.data(), g.dz = dz.view();
    g.dskip = dD.data(), g.dbias = dbias.data(), g.dinitial = dinitial.data();
  }
  kernels.scan_backward(g);
  du.written("du"), ddt.written("ddt"), dB.written("dB"), dC.written("dC");
  if (p.optional) dz.written("dz");

  std::vector<unsigned char> all;
  for (const Sequence* x : {&y, &du, &ddt, &dz, &dB, &dC}) all.insert(all.end(), x->bytes.begin(), x->bytes.end());
  for (const Array* x : {&final, &dinitial, &dA, &dD, &dbias}) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(x->data());
    all.insert(all.end(), bytes, bytes + 4 * x->size());
  }
  for (float x : dA) {
    if (!std::isfinite(x)) fail("dA is not written or not finite");
  }
  return all;
}

std::vector<unsigned char> run_conv(const Kernels& kernels, const Shape& p, int taps, int threads) {
  generator.seed(2);
  Sequence x(p.B, p.L, p.D, p.bf16, 5), dy(p.B, p.L, p.D, p.bf16), y = dy, dx = dy;
  x.fill(-1, 1), dy.fill(-1, 1);
  Array weight = random(p.D * taps, -1, 1), bias = random(p.D, -1, 1), dweight(weight.size(), NAN), dbias = bias;
  Conv s;
  s.B = p.B, s.L = p.L, s.D = p.D, s.K = taps, s.reverse = p.reverse, s.silu = p.softplus, s.threads = threads;
  s.x = x.view(), s.weight = weight.data(), s.bias = p.optional ? bias.data() : nullptr;
  ConvForward f;
  static_cast<Conv&>(f) = s;
  f.y = y.view();
  kernels.conv_forward(f);
  ConvBackward g;
  static_cast<Conv&>(g) = s;
  g.dy = dy.view(), g.dx = dx.view(), g.dweight = dweight.data(), g.dbias = p.optional ? dbias.data() : nullptr;
  kernels.conv_backward(g);
  y.written("y"), dx.written("dx");
  std::vector<unsigned char> all = y.bytes;
  all.insert(all.end(), dx.bytes.begin(), dx.bytes.end());
  const auto* bytes = reinterpret_cast<const unsigned char*>(dweight.data());
  all.insert(all.end(), bytes, bytes + 4 * dweight.size());
  return all;
}

struct SsdShape {
  int64_t B, L, G, H, R, N, P;
  bool reverse, bf16, states;
};

// y in double, token by token.
void check_ssd(const SsdShape& p, const Sequence& q, const Sequence& k, const Sequence& v, const Array& decay,
               const Array& w, const Array& g, const Array& initial, const Sequence& y) {
  double error = 0, norm = 0;
  for (int64_t item = 0; item < p.B * p.H; ++item) {
    const int64_t b = item / p.H, head = item % p.H, group = head / (p.H / p.G);
    std::vector<double> h(static_cast<size_t>(p.P * p.N)), own(h.size());
    for (size_t i = 0; i < h.size(); ++i) h[i] = p.states ? initial[item * p.P * p.N + i] : 0.0;
    for (int64_t s = 0; s < p.L; ++s) {
      const int64_t t = p.reverse ? p.L - 1 - s : s, at = (b * p.L + t) * p.H + head;
      for (int64_t c = 0; c < p.P; ++c) {
        for (int64_t n = 0; n < p.N; ++n) {
          double sum = 0;
          for (int64_t r = 0; r < p.R; ++r) {
            sum += double(v.at(b, t, (head * p.R + r) * p.P + c)) * k.at(b, t, (group * p.R + r) * p.N + n);
          }
          own[c * p.N + n] = sum;
          h[c * p.N + n] *= std::exp(double(decay[at]));
        }
        for (int64_t r = 0; r < p.R; ++r) {
          double sum = 0;
          for (int64_t n = 0; n < p.N; ++n) {
            const double state = h[c * p.N + n] + double(g[at]) * own[c * p.N + n];
            sum += state * q.at(b, t, (group * p.R + r) * p.N + n);
          }
          const double wrong = y.at(b, t, (head * p.R + r) * p.P + c) - sum;
          error += wrong * wrong, norm += sum * sum;
        }
        for (int64_t n = 0; n < p.N; ++n) h[c * p.N + n] += double(w[at]) * own[c * p.N + n];
      }
    }
  }
  if (std::sqrt(error) > (p.bf16 ? 4e-3 : 5e-6) * std::sqrt(norm) + 1e-7) fail("ssd_forward is inaccurate");
}

std::vector<unsigned char> run_ssd(const Kernels& kernels, const SsdShape& p, int threads) {
  generator.seed(3);
  const int64_t gap = p.reverse ? 3 : 0, keys = p.G * p.R * p.N, values = p.H * p.R * p.P;
  Sequence q(p.B, p.L, keys, p.bf16, gap), k = q, v(p.B, p.L, values, p.bf16, gap), dy(p.B, p.L, values, p.bf16, gap);
  q.fill(-1, 1), k.fill(-1, 1), v.fill(-1, 1), dy.fill(-1, 1);
  const int64_t tokens = p.B * p.L * p.H, size = p.B * p.H * p.P * p.N;
  Array decay = random(tokens, -1, 0), w = random(tokens, -1, 1), g = random(tokens, -1, 1);
  Array initial = random(size, -1, 1), dfinal = random(size, -1, 1), final(initial.size(), NAN), dinitial = final;
  Array states(static_cast<size_t>(p.B * (ssd_chunks(p.L, p.R) - 1) * p.H * p.P * padded(p.N)), NAN);
  Ssd s;
  s.B = p.B, s.L = p.L, s.G = p.G, s.H = p.H, s.R = p.R, s.N = p.N, s.P = p.P, s.reverse = p.reverse;
  s.q = q.view(), s.k = k.view(), s.v = v.view(), s.threads = threads;
  s.log_decay = decay.data(), s.w = w.data(), s.g = g.data();

  SsdForward f;
  static_cast<Ssd&>(f) = s;
  Sequence y(p.B, p.L, values, p.bf16);
  f.y = y.view(), f.states = states.data();
  if (p.states) f.initial = initial.data(), f.final = final.data();
  kernels.ssd_forward(f);
  y.written("y");
  check_ssd(p, q, k, v, decay, w, g, initial, y);

  const int64_t parts = parts_of(p.H / p.G, ssd_heads(p.B, p.G, p.H));
  Sequence dq(parts * p.B, p.L, keys, false), dk = dq, dv = y;
  Array ddecay(decay.size(), NAN), dw = ddecay, dg = ddecay;
  SsdBackward d;
  static_cast<Ssd&>(d) = s;
  d.dy = dy.view(), d.states = states.data(), d.dq = dq.view(), d.dk = dk.view(), d.dv = dv.view();
  d.part = p.B * p.L * keys, d.dlog_decay = ddecay.data(), d.dw = dw.data(), d.dg = dg.data();
  if (p.states) d.initial = initial.data(), d.dfinal = dfinal.data(), d.dinitial = dinitial.data();
  kernels.ssd_backward(d);
  dq.written("dq"), dk.written("dk"), dv.written("dv");

  std::vector<unsigned char> all;
  for (const Sequence* x : {&y, &dq, &dk, &dv}) all.insert(all.end(), x->bytes.begin(), x->bytes.end());
  for (const Array* x : {&final, &dinitial, &ddecay, &dw, &dg}) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(x->data());
    all.insert(all.end(), bytes, bytes + 4 * x->size());
    for (float value : *x) {
      if (!std::isfinite(value) && (p.states || x->size() != final.size())) fail("a gradient of ssd is not written");
    }
  }
  return all;
}

}  // namespace

int main() {
  int cases = 0;
  for (const Kernels* kernels : available()) {
    for (int64_t L : {1, kChunk - 1, kChunk, kChunk + 1, 70}) {
      for (int64_t D : {1, 7, 15, 16, 64, 130}) {
        for (int64_t N : {1, 7, 16, 33, 64}) {
          const bool odd = cases % 2, third = cases % 3 == 0;
          const Shape shape{1 + cases % 3, L, D, N, odd, !third, cases % 4 == 1, cases % 5 != 0};
          if (run_scan(*kernels, shape, 1) != run_scan(*kernels, shape, 3)) fail("scan depends on threads");
          const int taps = 1 + cases % kMaxTaps;
          if (run_conv(*kernels, shape, taps, 1) != run_conv(*kernels, shape, taps, 3)) fail("conv depends on threads");
          ++cases;
        }
      }
    }
    for (int64_t L : {1, 63, 64, 65, 130}) {
      for (int64_t N : {1, 7, 33}) {
        for (int64_t P : {1, 16, 50}) {
          const int64_t R = L == 1 ? 70 : 1 + cases % 3, G = 1 + cases % 2, H = G * (1 + cases % 3);
          const SsdShape shape{1 + cases % 2, L, G, H, R, N, P, cases % 2 == 1, cases % 4 == 1, cases % 5 != 0};
          if (run_ssd(*kernels, shape, 1) != run_ssd(*kernels, shape, 3)) fail("ssd depends on threads");
          ++cases;
        }
      }
    }
    cases += check_steps(*kernels) + check_fused(*kernels);
    std::printf("%s: ok\n", kernels->name);
  }
  std::printf("%d passed, 0 failed\n", cases);
}
