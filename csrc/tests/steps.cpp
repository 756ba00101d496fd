// Runs the step of every mixer over many shapes under the sanitizers: results are finite and do not depend on the number
// of threads, and a perceptron's, which are two products and a nonlinearity, are those of a plain double loop.
#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "checks.h"

using namespace bakeoff;

namespace {

// The arrays of one step: what it reads, and what it writes, which a run leaves to be compared.
class Arrays {
 public:
  const float* in(int64_t size, float low = -1, float high = 1) { return keep(read_, random(size, low, high)); }
  float* state(int64_t size) { return keep(written_, random(size, 0, 1)); }
  float* out(int64_t size) { return keep(written_, Array(static_cast<size_t>(size), NAN)); }

  std::vector<unsigned char> written(const char* name) const {
    std::vector<unsigned char> all;
    for (const Array& x : written_) {
      for (float v : x) {
        if (!std::isfinite(v)) fail(std::string(name) + ": a result is not written or not finite");
      }
      const auto* bytes = reinterpret_cast<const unsigned char*>(x.data());
      all.insert(all.end(), bytes, bytes + 4 * x.size());
    }
    return all;
  }

 private:
  static float* keep(std::deque<Array>& list, Array x) {
    list.push_back(std::move(x));
    return list.back().data();
  }

  std::deque<Array> read_, written_;
};

struct Shape {
  int64_t B, D, E, N;
  bool odd, third;  // optional parts
};

template <class S>
S begin(const Shape& p, Arrays& a, int threads) {
  S s;
  s.B = p.B, s.D = p.D, s.E = p.E, s.threads = threads;
  s.x = a.in(p.B * p.D), s.y = a.out(p.B * p.D);
  return s;
}

void run_mamba(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<MambaStep>(p, a, threads);
  s.N = p.N, s.K = 1 + p.E % 5, s.R = p.odd ? 0 : 1 + p.D / 16;
  s.rule = p.third ? Rule::none : p.E % 2 ? Rule::euler : Rule::exponential;
  s.inputs = a.state(s.B * (s.K - 1) * s.E), s.state = a.state(s.B * s.E * s.N);
  s.in_proj = a.in(2 * s.E * s.D), s.conv_weight = a.in(s.E * s.K), s.conv_bias = a.in(s.E);
  if (p.odd) {
    s.fixed_B = a.in(s.N), s.fixed_C = a.in(s.N);
  } else {
    s.x_proj = a.in((s.R + 2 * s.N) * s.E), s.dt_proj = a.in(s.E * s.R);
  }
  s.dt_bias = a.in(s.E, -4, -2), s.A_log = p.third ? nullptr : a.in(s.E * s.N, 0, 2);
  s.skip = a.in(s.E), s.out_proj = a.in(s.D * s.E);
  for (int token = 0; token < 2; ++token) kernels.steps.mamba(s);
}

void run_mamba2(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<Mamba2Step>(p, a, threads);
  s.N = p.N, s.K = 1 + p.E % 5, s.G = p.odd ? 2 : 1, s.H = s.G * (p.third ? 3 : 1), s.E = p.E * s.H, s.eps = 1e-5f;
  const int64_t C = s.E + 2 * s.G * s.N;
  s.inputs = a.state(s.B * (s.K - 1) * C), s.state = a.state(s.B * s.E * s.N);
  s.in_proj = a.in((s.E + C + s.H) * s.D), s.conv_weight = a.in(C * s.K), s.conv_bias = a.in(C);
  s.dt_bias = a.in(s.H), s.A_log = a.in(s.H), s.skip = a.in(s.H), s.norm = a.in(s.E), s.out_proj = a.in(s.D * s.E);
  for (int token = 0; token < 2; ++token) kernels.steps.mamba2(s);
}

void run_mamba3(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<Mamba3Step>(p, a, threads);
  s.N = p.N, s.G = p.odd ? 2 : 1, s.H = s.G * (p.third ? 3 : 1), s.E = p.E * s.H, s.R = p.third ? 3 : 1;
  s.S = p.odd ? s.N / 2 : s.N / 4, s.trapezoid = !p.third, s.heavy_tail = p.odd, s.eps = 1e-5f, s.slowest = -1e-4f;
  const int64_t rows = s.R * s.N, all = 2 * s.E + 2 * s.G * rows + (s.trapezoid ? 3 : 2) * s.H + s.S;
  s.state = a.state(s.B * s.E * s.N), s.k = a.state(s.B * s.G * rows), s.v = a.state(s.B * s.E);
  s.angle = a.state(s.B * s.H * s.S), s.in_proj = a.in(all * s.D), s.dt_bias = a.in(s.H);
  if (p.odd) s.B_bias = a.in(s.H * rows), s.C_bias = a.in(s.H * rows), s.norm = a.in(s.E);
  s.B_norm = a.in(s.N), s.C_norm = a.in(s.N);
  if (s.R > 1) s.mimo_x = a.in(s.R * s.E), s.mimo_z = a.in(s.R * s.E), s.mimo_o = a.in(s.R * s.E);
  s.skip = a.in(s.H), s.out_proj = a.in(s.D * s.E);
  for (int token = 0; token < 2; ++token) kernels.steps.mamba3(s);
}

// The cache has room for the tokens and no more, and slides when it is full.
void run_attention(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<AttentionStep>(p, a, threads);
  const int64_t P = 2 * p.E;
  s.G = p.odd ? 2 : 1, s.H = s.G * (p.third ? 7 : 1), s.E = P * s.H, s.capacity = p.N, s.eps = 1e-6f;
  s.cache = a.state(2 * s.B * s.G * s.capacity * P);
  s.qkv = a.in((s.E + 2 * s.G * P) * s.D), s.qkv_bias = a.in(s.E + 2 * s.G * P);
  if (p.odd) s.q_norm = a.in(P), s.k_norm = a.in(P);
  if (p.third) s.turns = a.in(P);
  s.out_proj = a.in(s.D * s.E), s.out_bias = a.in(s.D);
  for (s.T = p.N - 1; s.T < p.N; ++s.T) kernels.steps.attention(s);
  s.slides = true;
  kernels.steps.attention(s);
}

void run_mlp(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<MlpStep>(p, a, threads);
  s.up = a.in(s.E * s.D), s.down = a.in(s.D * s.E);
  if (p.odd) s.gate = a.in(s.E * s.D);
  if (p.third) s.up_bias = a.in(s.E), s.down_bias = a.in(s.D);
  kernels.steps.mlp(s);
  double error = 0, norm = 0;
  for (int64_t b = 0; b < s.B; ++b) {
    std::vector<double> hidden(static_cast<size_t>(s.E));
    for (int64_t e = 0; e < s.E; ++e) {
      double up = s.up_bias ? s.up_bias[e] : 0.0, gate = 0;
      for (int64_t d = 0; d < s.D; ++d) {
        up += double(s.up[e * s.D + d]) * s.x[b * s.D + d];
        if (s.gate) gate += double(s.gate[e * s.D + d]) * s.x[b * s.D + d];
      }
      hidden[e] = s.gate ? up * gate / (1 + std::exp(-gate)) : up * std::erfc(-up / std::sqrt(2.0)) / 2;
    }
    for (int64_t d = 0; d < s.D; ++d) {
      double y = s.down_bias ? s.down_bias[d] : 0.0;
      for (int64_t e = 0; e < s.E; ++e) y += double(s.down[d * s.E + e]) * hidden[e];
      const double wrong = s.y[b * s.D + d] - y;
      error += wrong * wrong, norm += y * y;
    }
  }
  if (std::sqrt(error) > 5e-6 * std::sqrt(norm) + 1e-6) fail("mlp_step is inaccurate");
}

void run_gru(const Kernels& kernels, const Shape& p, Arrays& a, int threads) {
  auto s = begin<GruStep>(p, a, threads);
  s.state = a.state(s.B * s.E), s.weight_ih = a.in(3 * s.E * s.D), s.weight_hh = a.in(3 * s.E * s.E);
  s.bias_ih = a.in(3 * s.E), s.bias_hh = a.in(3 * s.E), s.out_proj = a.in(s.D * s.E);
  for (int token = 0; token < 2; ++token) kernels.steps.gru(s);
}

using Run = void (*)(const Kernels&, const Shape&, Arrays&, int);
constexpr struct {
  const char* name;
  Run run;
} kRuns[] = {{"mamba_step", run_mamba},         {"mamba2_step", run_mamba2}, {"mamba3_step", run_mamba3},
             {"attention_step", run_attention}, {"mlp_step", run_mlp},       {"gru_step", run_gru}};

}  // namespace

int check_steps(const Kernels& kernels) {
  int cases = 0;
  // Rows of weights from one element to more than the eight vectors, and the page, at which a product changes its way.
  const Shape sizes[] = {{1, 1, 1, 1, false, false}, {2, 7, 3, 4, false, false},     {3, 16, 15, 7, false, false},
                         {7, 33, 16, 16, false, false}, {1, 130, 130, 20, false, false}, {17, 40, 33, 64, false, false},
                         {1, 1030, 9, 5, false, false}, {70, 90, 90, 33, false, false},  {128, 16, 260, 9, false, false}};
  for (Shape shape : sizes) {
    for (int option = 0; option < 4; ++option, ++cases) {
      shape.odd = option & 1, shape.third = option & 2;
      for (const auto& [name, run] : kRuns) {
        std::vector<unsigned char> found[2];
        for (int shared : {0, 1}) {
          Arrays arrays;
          generator.seed(4);
          run(kernels, shape, arrays, shared ? 3 : 1);
          found[shared] = arrays.written(name);
        }
        if (found[0] != found[1]) fail(std::string(name) + " depends on threads");
      }
    }
  }
  return cases;
}
