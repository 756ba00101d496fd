// Depthwise causal convolution fused with SiLU, forward and backward. Lanes are channels.
//
//   s_t = bias + sum_k weight[:, k] x_{t-(K-1)+k} ;  y_t = s_t sigmoid(s_t), or s_t
//   r_t = dy_t dy/ds ;  dx_t = sum_k weight[:, k] r_{t+(K-1)-k} ;  dweight[:, k] = sum_{B,t} r_t x_{t-(K-1)+k}
//
// A work item (one sample, kGroup channels) walks stretches of tokens, which it first copies, together with
// the K - 1 tokens before them, into a contiguous tile.

constexpr int kStretch = 32;
constexpr int kRows = kStretch + kMaxTaps - 1;

struct ConvScratch {
  alignas(64) float x[kRows * kGroup], grad[kRows * kGroup], out[kStretch * kGroup];
  alignas(64) float weight[kMaxTaps * kGroup], dweight[kMaxTaps * kGroup];
  alignas(64) float bias[kGroup], dbias[kGroup];

  void load_weights(const Conv& s, const Group& group) {
    for (int64_t i = 0; i < kGroup; ++i) {
      const bool inside = i < group.size;
      bias[i] = inside && s.bias ? s.bias[group.first + i] : 0.0f;
      for (int k = 0; k < s.K; ++k) {
        weight[k * kGroup + i] = inside ? s.weight[(group.first + i) * s.K + k] : 0.0f;
      }
    }
  }

  // Row r of the tile is token t0 - (K - 1) + r; tokens before the first are zeros.
  void load_tokens(const Rows& rows, const Group& group, int64_t t0, int T, int K) {
    for (int r = 0; r < T + K - 1; ++r) {
      const int64_t t = t0 - (K - 1) + r;
      rows.read(t < 0 ? 0 : t, group.first, t < 0 ? 0 : static_cast<int>(group.size), kGroup, x + r * kGroup);
    }
  }
};

template <int K>
static inline Vec convolve(const Vec* weight, Vec bias, const float* x) {
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) bias = fma(Vec::load(x + k * kGroup), weight[k], bias);
  return bias;
}

template <int K>
static void conv_forward_item(const ConvForward& s, int64_t item, ConvScratch& m) {
  const Group group(s.D, item);
  const Rows x(s.x, group.b, s.L, s.reverse), y(s.y, group.b, s.L, s.reverse);
  const Exp2 exp2;
  m.load_weights(s, group);
  for (int64_t t0 = 0; t0 < s.L; t0 += kStretch) {
    const int T = static_cast<int>(least(kStretch, s.L - t0));
    m.load_tokens(x, group, t0, T, K);
    for (int64_t i = 0; i < group.size; i += W) {
      Vec weight[K], bias = Vec::load(m.bias + i);
      for (int k = 0; k < K; ++k) weight[k] = Vec::load(m.weight + k * kGroup + i);
      for (int t = 0; t < T; ++t) {
        Vec sum = convolve<K>(weight, bias, m.x + t * kGroup + i);
        if (s.silu) sum = sum * sigmoid(sum, exp2);
        sum.store(m.out + t * kGroup + i);
      }
    }
    for (int t = 0; t < T; ++t) y.write(t0 + t, group.first, static_cast<int>(group.size), m.out + t * kGroup);
  }
}

// `sums` gets (K + 1) rows of D: the gradients of the taps and of the bias from this sample.
template <int K>
static void conv_backward_item(const ConvBackward& s, float* sums, int64_t item, ConvScratch& m) {
  const Group group(s.D, item);
  const Rows x(s.x, group.b, s.L, s.reverse), dy(s.dy, group.b, s.L, s.reverse);
  const Rows dx(s.dx, group.b, s.L, s.reverse);
  const int size = static_cast<int>(group.size);
  const Exp2 exp2;
  const Vec one = Vec::of(1.0f);
  m.load_weights(s, group);
  __builtin_memset(m.dweight, 0, sizeof m.dweight);
  __builtin_memset(m.dbias, 0, sizeof m.dbias);
  __builtin_memset(m.grad, 0, sizeof m.grad);
  for (int64_t t0 = (s.L - 1) / kStretch * kStretch; t0 >= 0; t0 -= kStretch) {
    const int T = static_cast<int>(least(kStretch, s.L - t0));
    // The K - 1 rows of r that follow this stretch are the first rows of the stretch walked before it, or zeros.
    __builtin_memmove(m.grad + T * kGroup, m.grad, sizeof(float) * (K - 1) * kGroup);
    m.load_tokens(x, group, t0, T, K);
    for (int t = 0; t < T; ++t) dy.read(t0 + t, group.first, size, kGroup, m.grad + t * kGroup);
    for (int64_t i = 0; i < group.size; i += W) {
      Vec weight[K], dweight[K], bias = Vec::load(m.bias + i), dbias = Vec::of(0.0f);
      for (int k = 0; k < K; ++k) {
        weight[k] = Vec::load(m.weight + k * kGroup + i);
        dweight[k] = Vec::of(0.0f);
      }
      for (int t = T - 1; t >= 0; --t) {
        Vec r = Vec::load(m.grad + t * kGroup + i);
        if (s.silu) {
          Vec sum = convolve<K>(weight, bias, m.x + t * kGroup + i), sig = sigmoid(sum, exp2);
          r = r * (sig * (one + (sum - sum * sig)));
          r.store(m.grad + t * kGroup + i);
        }
        dbias = dbias + r;
        Vec in = r * weight[K - 1];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) dweight[k] = fma(r, Vec::load(m.x + (t + k) * kGroup + i), dweight[k]);
#pragma GCC unroll 8
        for (int k = 0; k < K - 1; ++k) {
          in = fma(Vec::load(m.grad + (t + K - 1 - k) * kGroup + i), weight[k], in);
        }
        in.store(m.out + t * kGroup + i);
      }
      (Vec::load(m.dbias + i) + dbias).store(m.dbias + i);
      for (int k = 0; k < K; ++k) {
        float* p = m.dweight + k * kGroup + i;
        (Vec::load(p) + dweight[k]).store(p);
      }
    }
    for (int t = 0; t < T; ++t) dx.write(t0 + t, group.first, size, m.out + t * kGroup);
  }
  float* row = sums + group.b * (K + 1) * s.D + group.first;
  for (int k = 0; k < K; ++k) __builtin_memcpy(row + k * s.D, m.dweight + k * kGroup, sizeof(float) * size);
  __builtin_memcpy(row + K * s.D, m.dbias, sizeof(float) * size);
}

// Calls f(Size<K>) for the run-time K in [1, kMaxTaps].
template <int K = 1, class F>
static inline void with_taps(int taps, F f) {
  if (taps == K) {
    f(Size<K>{});
  } else if constexpr (K < kMaxTaps) {
    with_taps<K + 1>(taps, f);
  }
}

template <class Problem>
struct ConvContext {
  const Problem& s;
  float* sums;
  float* slots;

  static constexpr int64_t each = floats_of<ConvScratch>();
  ConvScratch& scratch(int slot) const { return *reinterpret_cast<ConvScratch*>(slots + each * slot); }
};

static void conv_forward(const ConvForward& s) {
  using Context = ConvContext<ConvForward>;
  Scratch slots(Context::each * s.threads);
  Context context{s, nullptr, slots.data()};
  with_taps(s.K, [&](auto K) {
    parallel_for(
        s.threads, items(s.B, s.D),
        [](void* p, int64_t item, int slot) {
          auto& c = *static_cast<Context*>(p);
          FlushDenormals guard;
          conv_forward_item<decltype(K)::value>(c.s, item, c.scratch(slot));
        },
        &context);
  });
}

static void conv_backward(const ConvBackward& s) {
  using Context = ConvContext<ConvBackward>;
  const int64_t rows = s.K + 1;
  Scratch slots(Context::each * s.threads), sums(s.B * rows * s.D);
  Context context{s, sums.data(), slots.data()};
  with_taps(s.K, [&](auto K) {
    parallel_for(
        s.threads, items(s.B, s.D),
        [](void* p, int64_t item, int slot) {
          auto& c = *static_cast<Context*>(p);
          FlushDenormals guard;
          conv_backward_item<decltype(K)::value>(c.s, c.sums, item, c.scratch(slot));
        },
        &context);
  });
  for (int64_t d = 0; d < s.D; ++d) {
    for (int64_t k = 0; k < rows; ++k) {
      float total = 0.0f;
      for (int64_t b = 0; b < s.B; ++b) total += sums.data()[(b * rows + k) * s.D + d];
      if (k < s.K) {
        s.dweight[d * s.K + k] = total;
      } else if (s.dbias) {
        s.dbias[d] = total;
      }
    }
  }
}
