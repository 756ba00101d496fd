// The selective scan, forward: what both directions share, and the recurrence itself.
//
//   h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t ;  y_t = <C_t, h_t> + D u_t ;  y_t *= silu(z_t)
//
// Source: Gu & Dao 2023, algorithm 2. The lanes of a vector are states. A work item (one sample, kGroup
// channels) walks chunks of tokens. In a chunk it packs B and C once for all channels and walks tiles of W
// channels. In a tile it first makes dt and dt u contiguous, then walks blocks of states. For each block it takes
// one or a few channels at a time through all tokens of the chunk, with h in registers.

// exp(dt A) = 2^(dt A2): A2 = A log2(e), rows padded with zeros, then the largest |A2| of each channel.
static void scale_decay(const Scan& s, float* A2) {
  const int64_t P = padded(s.N);
  float* steepest = A2 + s.D * P;
  for (int64_t d = 0; d < s.D; ++d) {
    steepest[d] = 0.0f;
    for (int64_t n = 0; n < P; ++n) {
      const float x = n < s.N ? s.A[d * s.N + n] * kLog2E : 0.0f;
      const float size = x < 0.0f ? -x : x;
      A2[d * P + n] = x;
      if (!(size <= steepest[d])) steepest[d] = size;
    }
  }
}

// Copies (channels, N) rows to padded ones, zeros where there is no source; and back.
static void pad_rows(const float* from, int64_t rows, int64_t N, float* to) {
  int64_t P = padded(N);
  __builtin_memset(to, 0, sizeof(float) * rows * P);
  for (int64_t r = 0; from && r < rows; ++r) __builtin_memcpy(to + r * P, from + r * N, sizeof(float) * N);
}

static void unpad_rows(const float* from, int64_t rows, int64_t N, float* to) {
  for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(to + r * N, from + r * padded(N), sizeof(float) * N);
}

// The channels of one work item.
struct Group {
  int64_t b, first, size;

  Group(int64_t D, int64_t item) {
    int64_t groups = (D + kGroup - 1) / kGroup;
    b = item / groups;
    first = item % groups * kGroup;
    size = least(kGroup, D - first);
  }
};

static inline int64_t items(int64_t B, int64_t D) { return B * ((D + kGroup - 1) / kGroup); }

// dt, its slope in what comes before the softplus, u and dt u of W channels in one chunk, a row of W per token.
struct Tile {
  alignas(64) float dt[kChunk * W], slope[kChunk * W], u[kChunk * W], dtu[kChunk * W];
  bool steep[W];  // by channel: exp2 must clamp dt A2

  void load(const Scan& s, const float* steepest, const Rows& u_rows, const Rows& dt_rows, int64_t t0, int T,
            int64_t d, int n, const Exp2& exp2) {
    Vec bias = read_params(s.bias, d, n), limit = Vec::of(0.0f);
    for (int t = 0; t < T; ++t) {
      Vec x = dt_rows.read_vec(t0 + t, d, n) + bias, in = u_rows.read_vec(t0 + t, d, n);
      Vec rise = Vec::of(1.0f);
      if (s.softplus) x = softplus(x, rise, exp2);
      x.store(dt + t * W);
      rise.store(slope + t * W);
      in.store(u + t * W);
      (x * in).store(dtu + t * W);
      limit = max(limit, abs(x));
    }
    float largest[W];
    limit.store(largest);
    for (int j = 0; j < n; ++j) steep[j] = !(largest[j] * steepest[d + j] <= Exp2::range);
  }
};

// A number that the compiler knows.
template <int NV>
struct Size {
  static constexpr int value = NV;
};

// Calls f(Size<NV>, first vector) over `vectors` vectors in blocks of at most MAX.
template <int MAX, class F>
static inline void for_blocks(int vectors, F f) {
  int k = 0;
  if constexpr (MAX >= 8) {
    for (; vectors - k >= 8; k += 8) f(Size<8>{}, k);
  }
  if constexpr (MAX >= 4) {
    for (; vectors - k >= 4; k += 4) f(Size<4>{}, k);
  }
  for (; vectors - k >= 2; k += 2) f(Size<2>{}, k);
  if (k < vectors) f(Size<1>{}, k);
}

// Calls f(Size<R>, Size<clamp>, first channel) over the n channels of a tile, R at a time and the rest one by one.
// `clamp` is 1 where `steep` is set for any of the channels of the call.
template <int R, class F>
static inline void for_channels(int n, const bool* steep, F f) {
  auto each = [&](auto count, int j) __attribute__((always_inline)) {
    bool clamp = false;
    for (int r = 0; r < count.value; ++r) clamp |= steep[j + r];
    if (clamp) {
      f(count, Size<1>{}, j);
    } else {
      f(count, Size<0>{}, j);
    }
  };
  int j = 0;
  for (; n - j >= R; j += R) each(Size<R>{}, j);
  for (; j < n; ++j) each(Size<1>{}, j);
}

// Vectors whose exp2 advance together.
constexpr int kLockstep = 4;
// Vectors of states in registers, over all channels of a block.
constexpr int kForwardBlock = 8;

// decay[k R + r] = exp(dt A) for R channels and vectors [0, K) of states.
template <int R, int K, bool CLAMP>
static inline void decays(const float* A2, int64_t P, const Vec* step, Vec* decay, const Exp2& exp2) {
#pragma GCC unroll 8
  for (int i = 0; i < R * K; ++i) decay[i] = step[i % R] * Vec::load(A2 + P * (i % R) + W * (i / R));
  exp2.apply<R * K, CLAMP>(decay);
}

// A row of four partial sums for each of W channels. A channel without companions stores their sums too, as zeros.
constexpr int kDots = 4 * (W + Vec::fold);

// R channels, NV vectors of states, T tokens. Row t of `dots` gets four partial sums of <C_t, h_t> for each channel.
template <int R, int NV, bool CLAMP>
static inline void forward_block(int T, const float* A2, const float* B, const float* C, int64_t P,
                                 const float* dt, const float* dtu, float* state, float* dots, bool first,
                                 const Exp2& exp2) {
  constexpr int K = R * NV < kLockstep ? NV : kLockstep / R;
  Vec h[NV][R], decay[K * R];
#pragma GCC unroll 8
  for (int i = 0; i < NV * R; ++i) h[i / R][i % R] = Vec::load(state + P * (i % R) + W * (i / R));
  for (int t = 0; t < T; ++t) {
    asm("" : "+r"(A2));  // keeps A in memory operands: the registers are for h
    const float *b = B + t * P, *c = C + t * P;
    Vec step[R], input[R], sum[Vec::fold];
#pragma GCC unroll 8
    for (int i = 0; i < Vec::fold; ++i) sum[i] = Vec::of(0.0f);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) step[r] = Vec::of(dt[W * t + r]), input[r] = Vec::of(dtu[W * t + r]);
#pragma GCC unroll 8
    for (int k = 0; k < NV; ++k) {
      if (k % K == 0) decays<R, K, CLAMP>(A2 + W * k, P, step, decay, exp2);
      const Vec bk = Vec::load(b + W * k), ck = Vec::load(c + W * k);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        h[k][r] = fma(decay[k % K * R + r], h[k][r], input[r] * bk);
        sum[r] = fma(h[k][r], ck, sum[r]);
      }
    }
    store_partial(sum, dots + kDots * t, first);
  }
#pragma GCC unroll 8
  for (int i = 0; i < NV * R; ++i) h[i / R][i % R].store(state + P * (i % R) + W * (i / R));
}

struct ForwardScratch {
  alignas(64) float dots[kChunk * kDots];
  Tile tile;
};

// Floats of scratch per thread: the state of a group, and B and C of a chunk.
static int64_t forward_floats(int64_t P) { return floats_of<ForwardScratch>() + (kGroup + 2 * kChunk) * P; }

static void forward_item(const ScanForward& s, const float* A2, int64_t item, float* memory) {
  const int64_t P = padded(s.N);
  const int vectors = static_cast<int>((s.N + W - 1) / W);
  const Group group(s.D, item);
  const Rows u(s.u, group.b, s.L, s.reverse), dt(s.dt, group.b, s.L, s.reverse);
  const Rows Bm(s.Bm, group.b, s.L, s.reverse), Cm(s.Cm, group.b, s.L, s.reverse);
  const Rows z(s.z, group.b, s.L, s.reverse), y(s.y, group.b, s.L, s.reverse);
  const View ungated_view{const_cast<float*>(s.ungated), s.L * s.D, s.D, false};
  const Rows ungated(ungated_view, group.b, s.L, s.reverse);
  const Exp2 exp2;

  auto* scratch = reinterpret_cast<ForwardScratch*>(memory);
  float* h = memory + floats_of<ForwardScratch>();
  float *B = h + kGroup * P, *C = B + kChunk * P;
  Tile& tile = scratch->tile;
  const float* steepest = A2 + s.D * P;
  pad_rows(s.initial ? s.initial + (group.b * s.D + group.first) * s.N : nullptr, group.size, s.N, h);

  for (int64_t c = 0; c < chunks(s.L); ++c) {
    const int64_t t0 = c * kChunk;
    const int T = static_cast<int>(least(kChunk, s.L - t0));
    for (int t = 0; t < T; ++t) {
      Bm.read(t0 + t, 0, static_cast<int>(s.N), static_cast<int>(P), B + t * P);
      Cm.read(t0 + t, 0, static_cast<int>(s.N), static_cast<int>(P), C + t * P);
    }
    if (s.states) {
      float* state = s.states + ((group.b * chunks(s.L) + c) * s.D + group.first) * P;
      __builtin_memcpy(state, h, sizeof(float) * group.size * P);
    }
    for (int64_t i = 0; i < group.size; i += W) {
      const int64_t d = group.first + i;
      const int n = static_cast<int>(least(W, group.size - i));
      tile.load(s, steepest, u, dt, t0, T, d, n, exp2);
      const float* a = A2 + d * P;
      for_blocks<kForwardBlock / Vec::fold>(vectors, [&](auto size, int k) {
        for_channels<Vec::fold>(n, tile.steep, [&](auto channels, auto clamp, int j)
                                                   __attribute__((always_inline)) {
          forward_block<channels.value, size.value, clamp.value>(
              T, a + j * P + W * k, B + W * k, C + W * k, P, tile.dt + j, tile.dtu + j, h + (i + j) * P + W * k,
              scratch->dots + 4 * j, k == 0, exp2);
        });
      });
      const Vec skip = read_params(s.skip, d, n);
      for (int t = 0; t < T; ++t) {
        Vec out = fma(Vec::load(tile.u + W * t), skip, sum_partial(scratch->dots + kDots * t));
        if (ungated) ungated.write_vec(t0 + t, d, n, out);
        if (z) {
          Vec gate = z.read_vec(t0 + t, d, n);
          out = out * (gate * sigmoid(gate, exp2));
        }
        y.write_vec(t0 + t, d, n, out);
      }
    }
  }
  if (s.final) unpad_rows(h, group.size, s.N, s.final + (group.b * s.D + group.first) * s.N);
}

static void scan_forward(const ScanForward& s) {
  const int64_t P = padded(s.N);
  const int64_t each = forward_floats(P);
  Scratch shared(s.D * (P + 1)), slots(each * s.threads);
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
