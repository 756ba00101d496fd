// The selective scan, forward: what both directions share, and the recurrence itself.
//
//   h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t ;  y_t = <C_t, h_t> + D u_t ;  y_t *= silu(z_t)
//
// Source: Gu & Dao 2023, algorithm 2. The lanes of a vector are channels, so that B and C are one number for all of
// them, and no product is summed across lanes. A work item (one sample, kGroup channels) walks chunks of tokens. In a
// chunk it first makes dt and dt u contiguous, then takes W channels and a few of their states at a time through all
// tokens, with h in registers.

// The channels of one work item.
struct Group {
  int64_t b, first, size;

  Group(int64_t D, int64_t item) {
    int64_t groups = (D + kGroup - 1) / kGroup;
    b = item / groups;
    first = item % groups * kGroup;
    size = least(kGroup, D - first);
  }

  // Calls use(first channel within the group, channels that exist) for every vector.
  template <class Use>
  void walk(Use use) const {
    for (int64_t i = 0; i < size; i += W) use(i, static_cast<int>(least(W, size - i)));
  }
};

static inline int64_t items(int64_t B, int64_t D) { return B * ((D + kGroup - 1) / kGroup); }

// Where the kernels keep what each channel has for each of N states: (D / kPad, N, kPad), whichever instruction set
// runs. This is the first state of channel d; the next lies kPad behind it.
static inline int64_t lane(int64_t d, int64_t N) { return d / kPad * kPad * N + d % kPad; }

// Copies (D, N) rows there, zeros where there are no rows or channels; and back.
static void to_lanes(const float* rows, int64_t D, int64_t N, float* to) {
  __builtin_memset(to, 0, sizeof(float) * padded(D) * N);
  for (int64_t d = 0; rows && d < D; ++d) {
    for (int64_t n = 0; n < N; ++n) to[lane(d, N) + kPad * n] = rows[d * N + n];
  }
}

static void from_lanes(const float* from, int64_t D, int64_t N, float* rows) {
  for (int64_t d = 0; d < D; ++d) {
    for (int64_t n = 0; n < N; ++n) rows[d * N + n] = from[lane(d, N) + kPad * n];
  }
}

// exp(dt A) = 2^(dt A2): A2 = A log2(e) as lanes, then the largest |A2| of each channel.
static void scale_decay(const Scan& s, float* A2) {
  const int64_t all = padded(s.D) * s.N;
  float* steepest = A2 + all;
  to_lanes(s.A, s.D, s.N, A2);
  for (int64_t i = 0; i < all; ++i) A2[i] *= kLog2E;
  for (int64_t d = 0; d < padded(s.D); ++d) {
    steepest[d] = 0.0f;
    for (int64_t n = 0; n < s.N; ++n) {
      const float x = A2[lane(d, s.N) + kPad * n], size = x < 0.0f ? -x : x;
      if (!(size <= steepest[d])) steepest[d] = size;
    }
  }
}

// Where W channels, from channel i of the group on, have what there is for each token of a chunk: rows of W.
static inline int64_t row_of(int64_t i, int t) { return i * kChunk + t * W; }
constexpr int64_t kRowsOfGroup = kChunk * kGroup;

// The parameters of a group's channels, and dt, u and dt u in one chunk; zeros behind the last channel.
struct Inputs {
  alignas(64) float bias[kGroup], skip[kGroup];
  alignas(64) float dt[kRowsOfGroup], u[kRowsOfGroup], dtu[kRowsOfGroup];
  bool steep[kGroup / W];  // by vector: exp2 must clamp dt A2

  void start(const Scan& s, const Group& group) {
    for (int64_t i = 0; i < kGroup; ++i) {
      bias[i] = i < group.size && s.bias ? s.bias[group.first + i] : 0.0f;
      skip[i] = i < group.size && s.skip ? s.skip[group.first + i] : 0.0f;
    }
  }

  // `slope`, unless null, gets the slope of dt in what comes before the softplus.
  void load(const Scan& s, const Group& group, const float* steepest, const Rows& u_rows, const Rows& dt_rows,
            int64_t t0, int T, float* slope, const Exp2& exp2) {
    alignas(64) float largest[kGroup] = {};
    for (int t = 0; t < T; ++t) {
      group.walk([&](int64_t i, int n) {
        Vec x = dt_rows.read_vec(t0 + t, group.first + i, n) + Vec::load(bias + i);
        const Vec in = u_rows.read_vec(t0 + t, group.first + i, n);
        Vec rise = Vec::of(1.0f);
        if (s.softplus) x = softplus(x, rise, exp2);
        x.store(dt + row_of(i, t));
        in.store(u + row_of(i, t));
        (x * in).store(dtu + row_of(i, t));
        if (slope) rise.store(slope + row_of(i, t));
        max(abs(x), Vec::load(largest + i)).store(largest + i);  // a NaN is passed over: it comes through dt u
      });
    }
    group.walk([&](int64_t i, int n) {
      bool& any = steep[i / W] = false;
      for (int j = 0; j < n; ++j) any |= !(largest[i + j] * steepest[group.first + i + j] <= Exp2::range);
    });
  }
};

// A number that the compiler knows.
template <int NV>
struct Size {
  static constexpr int value = NV;
};

// States that advance together, with their gradients in registers.
constexpr int kStates = 4;

// Calls f(Size<S>, first state) over N states, kStates at a time and the rest one by one.
template <class F>
static inline void for_states(int64_t N, F f) {
  int64_t n = 0;
  for (; N - n >= kStates; n += kStates) f(Size<kStates>{}, n);
  for (; n < N; ++n) f(Size<1>{}, n);
}

// Calls f(Size<1>) or f(Size<0>).
template <class F>
static inline void with(bool yes, F f) {
  if (yes) {
    f(Size<1>{});
  } else {
    f(Size<0>{});
  }
}

struct ForwardScratch {
  Inputs in;
  alignas(64) float y[kRowsOfGroup];
};

// Adds <C_t, h_t> to y, for the vector of channels at `row`, S states and T tokens.
template <int S, bool CLAMP>
static inline void forward_block(ForwardScratch& x, int64_t row, int T, const float* A2, const float* B, const float* C,
                                 int64_t N, float* state, const Exp2& exp2) {
  Vec h[S], decay[S];
#pragma GCC unroll 8
  for (int k = 0; k < S; ++k) h[k] = Vec::load(state + kPad * k);
  for (int t = 0; t < T; ++t, row += W, B += N, C += N) {
    const Vec input = Vec::load(x.in.dtu + row);
    Vec sum = Vec::load(x.y + row);
    exp2.of_products<S, CLAMP>(Vec::load(x.in.dt + row), A2, decay);
#pragma GCC unroll 8
    for (int k = 0; k < S; ++k) {
      h[k] = fma(decay[k], h[k], input * Vec::of(B[k]));
      sum = fma(h[k], Vec::of(C[k]), sum);
    }
    sum.store(x.y + row);
  }
#pragma GCC unroll 8
  for (int k = 0; k < S; ++k) h[k].store(state + kPad * k);
}

// Floats of scratch per thread: also the state of a group, and B and C of a chunk.
static int64_t forward_floats(int64_t N) { return floats_of<ForwardScratch>() + kGroup * N + 2 * padded(kChunk * N); }

static void forward_item(const ScanForward& s, const float* A2, int64_t item, float* memory) {
  const int64_t N = s.N;
  const Group group(s.D, item);
  const Rows u(s.u, group.b, s.L, s.reverse), dt(s.dt, group.b, s.L, s.reverse);
  const Rows Bm(s.Bm, group.b, s.L, s.reverse), Cm(s.Cm, group.b, s.L, s.reverse);
  const Rows z(s.z, group.b, s.L, s.reverse), y(s.y, group.b, s.L, s.reverse);
  const View ungated_view{const_cast<float*>(s.ungated), s.L * s.D, s.D, false};
  const Rows ungated(ungated_view, group.b, s.L, s.reverse);
  const Exp2 exp2;

  auto* x = reinterpret_cast<ForwardScratch*>(memory);
  float* h = memory + floats_of<ForwardScratch>();
  float *B = h + kGroup * N, *C = B + padded(kChunk * N);
  const float *rates = A2 + group.first * N, *steepest = A2 + padded(s.D) * N;
  to_lanes(s.initial ? s.initial + (group.b * s.D + group.first) * N : nullptr, group.size, N, h);
  x->in.start(s, group);

  for (int64_t c = 0; c < chunks(s.L); ++c) {
    const int64_t t0 = c * kChunk;
    const int T = static_cast<int>(least(kChunk, s.L - t0));
    for (int t = 0; t < T; ++t) {
      Bm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(N), B + t * N);
      Cm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(N), C + t * N);
    }
    if (s.states) {
      float* state = s.states + ((group.b * chunks(s.L) + c) * padded(s.D) + group.first) * N;
      __builtin_memcpy(state, h, sizeof(float) * padded(group.size) * N);
    }
    x->in.load(s, group, steepest, u, dt, t0, T, nullptr, exp2);
    for (int t = 0; t < T; ++t) {
      group.walk([&](int64_t i, int) {
        (Vec::load(x->in.u + row_of(i, t)) * Vec::load(x->in.skip + i)).store(x->y + row_of(i, t));
      });
    }
    group.walk([&](int64_t i, int) {
      with(x->in.steep[i / W], [&](auto clamp) {
        for_states(N, [&](auto states, int64_t n) {
          const int64_t at = lane(i, N) + kPad * n;
          forward_block<states.value, clamp.value>(*x, row_of(i, 0), T, rates + at, B + n, C + n, N, h + at, exp2);
        });
      });
    });
    for (int t = 0; t < T; ++t) {
      group.walk([&](int64_t i, int n) {
        const int64_t d = group.first + i, row = row_of(i, t);
        Vec out = Vec::load(x->y + row);
        if (ungated) ungated.write_vec(t0 + t, d, n, out);
        if (z) out = out * silu(z.read_vec(t0 + t, d, n), exp2);
        y.write_vec(t0 + t, d, n, out);
      });
    }
  }
  if (s.final) from_lanes(h, group.size, N, s.final + (group.b * s.D + group.first) * N);
}

static void scan_forward(const ScanForward& s) {
  const int64_t each = forward_floats(s.N);
  Scratch shared(padded(s.D) * (s.N + 1)), slots(each * s.threads);
  scale_decay(s, shared.data());
  struct Context {
    const ScanForward& s;
    const float* A2;
    float* slots;
    int64_t each;
  } context{s, shared.data(), slots.data(), each};
  parallel_for(
      s.threads, items(s.B, s.D),
      [](void* p, int64_t item, int slot) {
        auto& c = *static_cast<Context*>(p);
        FlushDenormals guard;
        forward_item(c.s, c.A2, item, c.slots + c.each * slot);
      },
      &context);
}
