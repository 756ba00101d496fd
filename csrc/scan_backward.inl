// The selective scan, backward. With g_t the gradient of h_t, a_t = exp(dt_t A) and dy_t that of <C_t, h_t>:
//
//   g_t = C_t dy_t + a_{t+1} g_{t+1} ;  q_t = g_t a_t h_{t-1}
//   dC_t = sum_D h_t dy_t ;  dB_t = sum_D g_t dt_t u_t ;  dA = sum_{B,t} q_t dt_t
//   d(dt_t) = sum_N q_t A + u_t <g_t, B_t> ;  du_t = dt_t <g_t, B_t> + D dy_t
//
// Chunks are walked from the last to the first; in each, a and h are made again from the stored state before
// it and kept in first-level cache. Sums over samples and groups of channels run in a fixed order at the end.

constexpr int kBackwardBlock = 4;
// h before and after every token of a chunk.
constexpr int kHistory = (kChunk + 1) * kBackwardBlock * W;

// Makes decay[t] = a_t and h[t + 1] = h_t again, from h[0], for one channel and NV vectors of states.
template <int NV, bool CLAMP>
static inline void recompute_block(int T, const float* A2, const float* B, int64_t P, const float* dt,
                                   const float* dtu, const float* state, float* h_out, float* decay_out,
                                   const Exp2& exp2) {
  constexpr int M = NV < kLockstep ? NV : kLockstep;
  Vec h[NV], decay[M];
#pragma GCC unroll 8
  for (int k = 0; k < NV; ++k) {
    h[k] = Vec::load(state + W * k);
    h[k].store(h_out + W * k);
  }
  for (int t = 0; t < T; ++t) {
    asm("" : "+r"(A2));
    const float* b = B + t * P;
    Vec step = Vec::of(dt[W * t]), input = Vec::of(dtu[W * t]);
#pragma GCC unroll 8
    for (int k = 0; k < NV; k += M) {
      decays<M, CLAMP>(A2 + W * k, step, decay, exp2);
#pragma GCC unroll 8
      for (int i = k; i < k + M; ++i) {
        h[i] = fma(decay[i - k], h[i], input * Vec::load(b + W * i));
        decay[i - k].store(decay_out + W * (NV * t + i));
        h[i].store(h_out + W * (NV * (t + 1) + i));
      }
    }
  }
}

// The gradients of one channel and NV vectors of states. Row W t of `dots_B` and `dots_A` gets the partial sums
// of <g_t, B_t> and of <q_t, A2>, lane by lane. `after` is h_t, kept from the step before.
template <int NV>
static inline void backward_block(int T, const float* A2, const float* B, const float* C, float* dB, float* dC,
                                  int64_t P, const float* dt, const float* dtu, const float* dy, const float* h,
                                  const float* decay, float* g_io, float* dA_io, float* dots_B, float* dots_A,
                                  bool first) {
  Vec g[NV], dA[NV], a[NV], after[NV];
#pragma GCC unroll 8
  for (int k = 0; k < NV; ++k) {
    g[k] = Vec::load(g_io + W * k);
    dA[k] = Vec::of(0.0f);
    a[k] = Vec::load(A2 + W * k);
    after[k] = Vec::load(h + W * (NV * T + k));
  }
  for (int t = T - 1; t >= 0; --t) {
    const float *b = B + t * P, *c = C + t * P;
    float *db = dB + t * P, *dc = dC + t * P;
    Vec step = Vec::of(dt[W * t]), input = Vec::of(dtu[W * t]), out = Vec::of(dy[W * t]);
    Vec sum_B = first ? Vec::of(0.0f) : Vec::load(dots_B + W * W * t);
    Vec sum_A = first ? Vec::of(0.0f) : Vec::load(dots_A + W * W * t);
#pragma GCC unroll 8
    for (int k = 0; k < NV; ++k) {
      Vec grad = fma(Vec::load(c + W * k), out, g[k]);
      fma(after[k], out, Vec::load(dc + W * k)).store(dc + W * k);
      fma(grad, input, Vec::load(db + W * k)).store(db + W * k);
      sum_B = fma(grad, Vec::load(b + W * k), sum_B);
      g[k] = grad * Vec::load(decay + W * (NV * t + k));
      after[k] = Vec::load(h + W * (NV * t + k));
      Vec q = g[k] * after[k];
      sum_A = fma(q, a[k], sum_A);
      dA[k] = fma(q, step, dA[k]);
    }
    sum_B.store(dots_B + W * W * t);
    sum_A.store(dots_A + W * W * t);
  }
#pragma GCC unroll 8
  for (int k = 0; k < NV; ++k) {
    g[k].store(g_io + W * k);
    (Vec::load(dA_io + W * k) + dA[k]).store(dA_io + W * k);
  }
}

struct BackwardScratch {
  alignas(64) float h[kHistory], decay[kHistory], dots_B[kChunk * W * W], dots_A[kChunk * W * W], dy[kChunk * W];
  Tile tile;
};

// Partial gradients of the work items; summed once all are done.
struct Partials {
  float *dA, *dB, *dC, *dskip, *dbias;  // (B, D, P), (items, L, N) twice, (B, D) twice

  Partials(const ScanBackward& s, float* memory) {
    dA = memory;
    dB = dA + s.B * s.D * padded(s.N);
    dC = dB + items(s.B, s.D) * s.L * s.N;
    dskip = dC + items(s.B, s.D) * s.L * s.N;
    dbias = dskip + s.B * s.D;
  }
  static int64_t floats(const ScanBackward& s) {
    return s.B * s.D * (padded(s.N) + 2) + 2 * items(s.B, s.D) * s.L * s.N;
  }
};

static int64_t backward_floats(int64_t P) {
  return floats_of<BackwardScratch>() + (kGroup + 4 * kChunk) * P;
}

static void backward_item(const ScanBackward& s, const float* A2, const Partials& partials, int64_t item,
                          float* memory) {
  const int64_t P = padded(s.N), N = s.N;
  const int vectors = static_cast<int>((N + W - 1) / W);
  const Group group(s.D, item);
  const int64_t b = group.b;
  const Rows u(s.u, b, s.L, s.reverse), dt(s.dt, b, s.L, s.reverse), z(s.z, b, s.L, s.reverse);
  const Rows Bm(s.Bm, b, s.L, s.reverse), Cm(s.Cm, b, s.L, s.reverse), dy(s.dy, b, s.L, s.reverse);
  const Rows du(s.du, b, s.L, s.reverse), ddt(s.ddt, b, s.L, s.reverse), dz(s.dz, b, s.L, s.reverse);
  const View ungated_view{const_cast<float*>(s.ungated), s.L * s.D, s.D, false};
  const Rows ungated(ungated_view, b, s.L, s.reverse);
  const Exp2 exp2;
  const Vec one = Vec::of(1.0f);

  auto* x = reinterpret_cast<BackwardScratch*>(memory);
  float* g = memory + floats_of<BackwardScratch>();
  float *B = g + kGroup * P, *C = B + kChunk * P, *dB = C + kChunk * P, *dC = dB + kChunk * P;
  Tile& tile = x->tile;
  const float* steepest = A2 + s.D * P;
  const int64_t channel = b * s.D + group.first;
  float* dA = partials.dA + channel * P;
  float *dskip = partials.dskip + channel, *dbias = partials.dbias + channel;
  pad_rows(s.dfinal ? s.dfinal + channel * N : nullptr, group.size, N, g);
  __builtin_memset(dA, 0, sizeof(float) * group.size * P);
  __builtin_memset(dskip, 0, sizeof(float) * group.size);
  __builtin_memset(dbias, 0, sizeof(float) * group.size);

  for (int64_t c = chunks(s.L) - 1; c >= 0; --c) {
    const int64_t t0 = c * kChunk;
    const int T = static_cast<int>(least(kChunk, s.L - t0));
    const float* states = s.states + ((b * chunks(s.L) + c) * s.D + group.first) * P;
    for (int t = 0; t < T; ++t) {
      Bm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(P), B + t * P);
      Cm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(P), C + t * P);
    }
    __builtin_memset(dB, 0, sizeof(float) * 2 * kChunk * P);

    for (int64_t i = 0; i < group.size; i += W) {
      const int64_t d = group.first + i;
      const int n = static_cast<int>(least(W, group.size - i));
      tile.load(s, u, dt, t0, T, d, n, exp2);
      for (int t = 0; t < T; ++t) {
        Vec grad = dy.read_vec(t0 + t, d, n);
        if (z) {  // silu'(z) = s (1 + z - z s), s = sigmoid(z)
          Vec gate = z.read_vec(t0 + t, d, n), sig = sigmoid(gate, exp2), silu = gate * sig;
          Vec slope = sig * (one + (gate - silu));
          dz.write_vec(t0 + t, d, n, grad * ungated.read_vec(t0 + t, d, n) * slope);
          grad = grad * silu;
        }
        grad.store(x->dy + W * t);
      }
      for (int j = 0; j < n; ++j) {
        const int64_t row = (i + j) * P;
        const float* a = A2 + (d + j) * P;
        const bool clamp = !(tile.largest[j] * steepest[d + j] <= kExp2Range);
        for_blocks<kBackwardBlock>(vectors, clamp, [&](auto size, auto clamped, int k) __attribute__((always_inline)) {
          recompute_block<size.value, clamped.value>(T, a + W * k, B + W * k, P, tile.dt + j, tile.dtu + j,
                                                     states + row + W * k, x->h, x->decay, exp2);
          backward_block<size.value>(T, a + W * k, B + W * k, C + W * k, dB + W * k, dC + W * k, P, tile.dt + j,
                                     tile.dtu + j, x->dy + j, x->h, x->decay, g + row + W * k, dA + row + W * k,
                                     x->dots_B + W * j, x->dots_A + W * j, k == 0);
        });
      }
      const Vec skip = read_params(s.skip, d, n);
      Vec sum_skip = Vec::of(0.0f), sum_bias = Vec::of(0.0f);
      for (int t = 0; t < T; ++t) {
        Vec grad = Vec::load(x->dy + W * t), in = Vec::load(tile.u + W * t);
        Vec dot = sum_rows(x->dots_B + W * W * t);
        du.write_vec(t0 + t, d, n, fma(dot, Vec::load(tile.dt + W * t), grad * skip));
        Vec step = fma(dot, in, sum_rows(x->dots_A + W * W * t) * Vec::of(kLn2)) * Vec::load(tile.slope + W * t);
        ddt.write_vec(t0 + t, d, n, step);
        sum_skip = fma(grad, in, sum_skip);
        sum_bias = sum_bias + step;
      }
      alignas(64) float lanes[2][W];
      sum_skip.store(lanes[0]);
      sum_bias.store(lanes[1]);
      for (int j = 0; j < n; ++j) {
        dskip[i + j] += lanes[0][j];
        dbias[i + j] += lanes[1][j];
      }
    }
    for (int t = 0; t < T; ++t) {
      const int64_t at = (item * s.L + (s.reverse ? s.L - 1 - t0 - t : t0 + t)) * N;
      __builtin_memcpy(partials.dB + at, dB + t * P, sizeof(float) * N);
      __builtin_memcpy(partials.dC + at, dC + t * P, sizeof(float) * N);
    }
  }
  if (s.dinitial) unpad_rows(g, group.size, N, s.dinitial + channel * N);
}

// dB and dC of one sample: the sum over its groups of channels, in order.
static void sum_groups(const ScanBackward& s, const Partials& partials, int64_t b, float* row) {
  const int64_t groups = items(1, s.D), size = s.L * s.N;
  const float* from[] = {partials.dB + b * groups * size, partials.dC + b * groups * size};
  const Rows to[] = {Rows(s.dBm, b, s.L, false), Rows(s.dCm, b, s.L, false)};
  for (int which = 0; which < 2; ++which) {
    for (int64_t t = 0; t < s.L; ++t) {
      __builtin_memcpy(row, from[which] + t * s.N, sizeof(float) * s.N);
      for (int64_t group = 1; group < groups; ++group) {
        const float* p = from[which] + group * size + t * s.N;
        for (int64_t n = 0; n < s.N; ++n) row[n] += p[n];
      }
      to[which].write(t, 0, static_cast<int>(s.N), row);
    }
  }
}

// dA, dD and the gradient of dt's bias for one group of channels: the sum over samples, in order.
static void sum_samples(const ScanBackward& s, const Partials& partials, const Group& group) {
  const int64_t P = padded(s.N);
  for (int64_t d = group.first; d < group.first + group.size; ++d) {
    float skip = 0.0f, bias = 0.0f;
    for (int64_t n = 0; n < s.N; ++n) s.dA[d * s.N + n] = 0.0f;
    for (int64_t b = 0; b < s.B; ++b) {
      const float* dA = partials.dA + (b * s.D + d) * P;
      for (int64_t n = 0; n < s.N; ++n) s.dA[d * s.N + n] += dA[n];
      skip += partials.dskip[b * s.D + d];
      bias += partials.dbias[b * s.D + d];
    }
    if (s.dskip) s.dskip[d] = skip;
    if (s.dbias) s.dbias[d] = bias;
  }
}

static void scan_backward(const ScanBackward& s) {
  const int64_t P = padded(s.N);
  const int64_t each = backward_floats(P);
  Scratch shared(s.D * (P + 1)), slots(each * s.threads), sums(Partials::floats(s));
  scale_decay(s, shared.data());
  struct Context {
    const ScanBackward& s;
    const float* A2;
    const Partials partials;
    float* slots;
    int64_t each;
  } context{s, shared.data(), Partials(s, sums.data()), slots.data(), each};
  parallel_for(
      s.threads, items(s.B, s.D),
      [](void* p, int64_t item, int slot) {
        auto& c = *static_cast<Context*>(p);
        FlushDenormals guard;
        backward_item(c.s, c.A2, c.partials, item, c.slots + c.each * slot);
      },
      &context);
  parallel_for(
      s.threads, s.B + items(1, s.D),
      [](void* p, int64_t item, int slot) {
        auto& c = *static_cast<Context*>(p);
        if (item < c.s.B) {
          sum_groups(c.s, c.partials, item, c.slots + c.each * slot);
        } else {
          sum_samples(c.s, c.partials, Group(c.s.D, item - c.s.B));
        }
      },
      &context);
}
