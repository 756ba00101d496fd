// What the steps of several mixers share: a convolution over the last inputs, a norm, and the state of a head.

// Channels of a work item, and scratch for what is made once for all items.
constexpr int64_t kStepChannels = 64;

// out = x / sqrt(mean x^2 + eps) weight; out may be x.
static void rms_norm(const float* x, int64_t n, float eps, const float* weight, float* out) {
  Vec squares = Vec::of(0.0f);
  for (int64_t i = 0; i < n; i += W) {
    const Vec v = load_some(x + i, n - i);
    squares = fma(v, v, squares);
  }
  const Vec scale_by = Vec::of(1.0f / __builtin_sqrtf(sum_lanes(squares) / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += W) {
    store_some(load_some(x + i, n - i) * scale_by * load_some(weight + i, n - i), out + i, n - i);
  }
}

// u = silu(bias + sum_k weight[:, k] read_k), read_k the K - 1 last inputs and then x; x becomes the last of them.
// Rows of x and u lie ldx and C apart.
static void conv_step(int threads, int64_t B, int64_t C, int64_t K, const float* x, int64_t ldx, float* inputs,
                      const float* weight, const float* bias, float* u) {
  Scratch slots(threads * K * kStepChannels);
  share(threads, parts_of(C, kStepChannels), B * C * K, [&](int64_t item, int slot) {
    const int64_t first = item * kStepChannels, n = least(kStepChannels, C - first);
    float* taps = slots.data() + slot * K * kStepChannels;  // (K, channels)
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < K; ++k) taps[k * kStepChannels + i] = weight[(first + i) * K + k];
    }
    const Exp2 exp2;
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t i = 0; i < n; i += W) {
        Vec sum = load_some(bias + first + i, n - i);
        float* read = inputs + b * (K - 1) * C + first + i;
        for (int64_t k = 0; k < K; ++k, read += C) {
          const Vec in = load_some(k < K - 1 ? read : x + b * ldx + first + i, n - i);
          sum = fma(in, load_some(taps + k * kStepChannels + i, n - i), sum);
          if (k) store_some(in, read - C, n - i);
        }
        store_some(silu(sum, exp2), u + b * C + first + i, n - i);
      }
    }
  });
}

// A head's state (P, N): state = alpha state + sum_j weights_j keys_j^T, of J pairs; their rows lie P and ldk apart.
static void add_to_head(float* state, int64_t P, int64_t N, float alpha, int64_t J, const float* weights,
                        const float* keys, int64_t ldk) {
  const Vec kept = Vec::of(alpha);
  for (int64_t p = 0; p < P; ++p, state += N) {
    for (int64_t i = 0; i < N; i += W) {
      Vec h = kept * load_some(state + i, N - i);
      for (int64_t j = 0; j < J; ++j) h = fma(Vec::of(weights[j * P + p]), load_some(keys + j * ldk + i, N - i), h);
      store_some(h, state + i, N - i);
    }
  }
}
