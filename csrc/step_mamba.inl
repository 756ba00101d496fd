// The step of Mamba-1 [Gu & Dao 2023, figure 3], with the rules of discretisation of models/mixers/discretise.py.
//
//   h = decay h + weight B u ;  y = (C h + D u) silu(z) ;  of raw steps s, with dt = softplus(s) and g = sigmoid(s):
//   exponential: decay exp(dt A), weight dt ;  euler: 1 + dt A, dt ;  none: 1 - g, g ;  A = -exp(A_log)

// States of one item: `weight` holds the weights of n channels, and `in` those times u.
template <Rule rule>
static void mamba_states(int64_t n, int64_t N, const float* A, int64_t width, const float* weight, const float* in,
                         const float* B, float* state, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f);
  for (int64_t c = 0; c < n; ++c, state += N, A += width) {
    const Vec step = Vec::of(weight[c]), added = Vec::of(in[c]);
    for (int64_t i = 0; i < N; i += W) {
      Vec decay;
      if constexpr (rule == Rule::none) {
        decay = one - step;
      } else {
        decay = step * Vec::load(A + i);
        if constexpr (rule == Rule::exponential) exp2.apply<1, true>(&decay);
        if constexpr (rule == Rule::euler) decay = one + decay;
      }
      const Vec h = fma(decay, load_some(state + i, N - i), added * load_some(B + i, N - i));
      store_some(h, state + i, N - i);
    }
  }
}

// What the channels of a step's work item have in common with the other items.
struct MambaRows {
  const float *B, *C, *dt, *z;            // of item 0; the rows lie so far apart:
  int64_t ld_shared, ld_dt, ld_z;
  float* u;                               // (B, E); gets y, gated
};

// n channels from `first` on, of all items. `memory` holds A, padded rows, and three rows of channels.
template <Rule rule>
static void mamba_channels(const MambaStep& s, const MambaRows& rows, int64_t first, int64_t n, float* memory) {
  const int64_t width = padded(s.N);
  float *A = memory, *weight = A + kStepChannels * width, *in = weight + kStepChannels, *y = in + kStepChannels;
  const Exp2 exp2;
  const Vec scaled = Vec::of(rule == Rule::exponential ? -kLog2E : -1.0f);  // exp(dt A) = 2^(dt A log2(e))
  if constexpr (rule != Rule::none) {
    for (int64_t c = 0; c < n; ++c) {
      const float* A_log = s.A_log + (first + c) * s.N;
      for (int64_t i = 0; i < s.N; i += W) {
        (scaled * exp(load_some(A_log + i, s.N - i), exp2)).store(A + c * width + i);
      }
    }
  }
  for (int64_t b = 0; b < s.B; ++b) {
    float *u = rows.u + b * s.E + first, *state = s.state + (b * s.E + first) * s.N;
    const float *dt = rows.dt + b * rows.ld_dt + first, *z = rows.z + b * rows.ld_z + first;
    for (int64_t i = 0; i < n; i += W) {
      Vec slope, step = load_some(dt + i, n - i);
      step = rule == Rule::none ? sigmoid(step, exp2) : softplus(step, slope, exp2);
      step.store(weight + i);
      (step * load_some(u + i, n - i)).store(in + i);
    }
    mamba_states<rule>(n, s.N, A, width, weight, in, rows.B + b * rows.ld_shared, state, exp2);
    gemv({state, n, s.N}, 0, n, 1, rows.C + b * rows.ld_shared, 0, y, 0);
    for (int64_t i = 0; i < n; i += W) {
      const Vec skip = load_some(s.skip + first + i, n - i), gate = silu(load_some(z + i, n - i), exp2);
      store_some(fma(skip, load_some(u + i, n - i), Vec::load(y + i)) * gate, u + i, n - i);
    }
  }
}

static void mamba_step(const MambaStep& s) {
  const int64_t shared = s.R + 2 * s.N, each = kStepChannels * (padded(s.N) + 3);
  Scratch xz(s.B * 2 * s.E), u(s.B * s.E), low(s.B * shared), dt(s.B * s.E), slots(s.threads * each);
  gemv(s.threads, {s.in_proj, 2 * s.E, s.D}, s.B, s.x, s.D, xz.data(), 2 * s.E);
  conv_step(s.threads, s.B, s.E, s.K, xz.data(), 2 * s.E, s.inputs, s.conv_weight, s.conv_bias, u.data());
  MambaRows rows{s.fixed_B, s.fixed_C, s.dt_bias, xz.data() + s.E, 0, 0, 2 * s.E, u.data()};
  if (s.x_proj) {
    gemv(s.threads, {s.x_proj, shared, s.E}, s.B, u.data(), s.E, low.data(), shared);
    gemv(s.threads, {s.dt_proj, s.E, s.R, s.dt_bias}, s.B, low.data(), shared, dt.data(), s.E);
    rows.B = low.data() + s.R, rows.C = rows.B + s.N, rows.ld_shared = shared;
    rows.dt = dt.data(), rows.ld_dt = s.E;
  }
  share(s.threads, parts_of(s.E, kStepChannels), s.B * s.E * s.N * 8, [&](int64_t item, int slot) {
    const int64_t first = item * kStepChannels, n = least(kStepChannels, s.E - first);
    float* memory = slots.data() + slot * each;
    switch (s.rule) {
      case Rule::exponential: return mamba_channels<Rule::exponential>(s, rows, first, n, memory);
      case Rule::euler: return mamba_channels<Rule::euler>(s, rows, first, n, memory);
      case Rule::none: return mamba_channels<Rule::none>(s, rows, first, n, memory);
    }
  });
  gemv(s.threads, {s.out_proj, s.D, s.E}, s.B, u.data(), s.E, s.y, s.D);
}
