// The selective scan, backward. With g_t the gradient of h_t, a_t = exp(dt_t A) and dy_t that of <C_t, h_t>:
//
//   g_t = C_t dy_t + a_{t+1} g_{t+1} ;  q_t = g_t a_t h_{t-1}
//   dC_t = sum_D h_t dy_t ;  dB_t = sum_D g_t dt_t u_t ;  dA = sum_{B,t} q_t dt_t
//   d(dt_t) = sum_N q_t A + u_t <g_t, B_t> ;  du_t = dt_t <g_t, B_t> + D dy_t
//
// Chunks are walked from the last to the first; in each, a and h are recomputed from the stored state before
// it and kept in first-level cache. Sums over samples and groups of channels run in a fixed order at the end.

constexpr int kBackwardBlock = 4;
// h before and after every token of a chunk.
constexpr int kHistory = (kChunk + 1) * kBackwardBlock * W;

// Recomputes decay[t] = a_t and h[t + 1] = h_t from h[0], for R channels and NV vectors of states.
template <int R, int NV, bool CLAMP>
__attribute__((always_inline)) static inline void recompute_block(
    int T, const float* A2, const float* B, int64_t P, const float* dt, const float* dtu, const float* state,
    float* h_out, float* decay_out, const Exp2& exp2) {
  constexpr int K = R * NV < kLockstep ? NV : kLockstep / R, step_size = R * NV * W;
  Vec h[NV][R], decay[K * R];
#pragma GCC unroll 8
  for (int i = 0; i < NV * R; ++i) {
    h[i / R][i % R] = Vec::load(state + P * (i % R) + W * (i / R));
    h[i / R][i % R].store(h_out + W * i);
  }
  for (int t = 0; t < T; ++t) {
    asm("" : "+r"(A2));
    const float* b = B + t * P;
    Vec step[R], input[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) step[r] = Vec::of(dt[W * t + r]), input[r] = Vec::of(dtu[W * t + r]);
#pragma GCC unroll 8
    for (int k = 0; k < NV; ++k) {
      if (k % K == 0) decays<R, K, CLAMP>(A2 + W * k, P, step, decay, exp2);
      const Vec bk = Vec::load(b + W * k);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vec a = decay[k % K * R + r];
        h[k][r] = fma(a, h[k][r], input[r] * bk);
        a.store(decay_out + step_size * t + W * (k * R + r));
        h[k][r].store(h_out + step_size * (t + 1) + W * (k * R + r));
      }
    }
  }
}

// The gradients of R channels and NV vectors of states. Row 8 W t of `dots` gets four partial sums each of
// <g_t, B_t> and of <q_t, A2>: Vec::together channels of the first, as many of the second, and so on. `after` is
// h_t, kept from the step before.
template <int R, int NV>
__attribute__((always_inline)) static inline void backward_block(
    int T, const float* A2, const float* B, const float* C, float* dB, float* dC, int64_t P, const float* dt,
    const float* dtu, const float* dy, const float* h, const float* decay, float* g_io, float* dA_io, float* dots,
    bool first) {
  constexpr int step_size = R * NV * W;
  Vec g[NV][R], dA[NV][R], a[NV][R], after[NV][R];
#pragma GCC unroll 8
  for (int i = 0; i < NV * R; ++i) {
    const int64_t at = P * (i % R) + W * (i / R);
    g[i / R][i % R] = Vec::load(g_io + at);
    dA[i / R][i % R] = Vec::of(0.0f);
    a[i / R][i % R] = Vec::load(A2 + at);
    after[i / R][i % R] = Vec::load(h + step_size * T + W * i);
  }
  for (int t = T - 1; t >= 0; --t) {
    const float *b = B + t * P, *c = C + t * P;
    float *db = dB + t * P, *dc = dC + t * P;
    Vec step[R], input[R], out[R], sum[2 * Vec::together];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * Vec::together; ++i) sum[i] = Vec::of(0.0f);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      step[r] = Vec::of(dt[W * t + r]), input[r] = Vec::of(dtu[W * t + r]), out[r] = Vec::of(dy[W * t + r]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < NV; ++k) {
      const Vec bk = Vec::load(b + W * k), ck = Vec::load(c + W * k);
      Vec to_B = Vec::load(db + W * k), to_C = Vec::load(dc + W * k);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const int at = step_size * t + W * (k * R + r);
        const Vec grad = fma(ck, out[r], g[k][r]);
        // Not fused: on Zen 5 a store delays fused multiply-adds, but not separate products and sums.
        to_C = after[k][r] * out[r] + to_C;
        to_B = grad * input[r] + to_B;
        sum[r] = fma(grad, bk, sum[r]);
        g[k][r] = grad * Vec::load(decay + at);
        after[k][r] = Vec::load(h + at);
        const Vec q = g[k][r] * after[k][r];
        sum[Vec::together + r] = fma(q, a[k][r], sum[Vec::together + r]);
        dA[k][r] = fma(q, step[r], dA[k][r]);
      }
      to_B.store(db + W * k);
      to_C.store(dc + W * k);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2 * Vec::together; i += Vec::fold) store_partial(sum + i, dots + 8 * W * t + 4 * i, first);
  }
#pragma GCC unroll 8
  for (int i = 0; i < NV * R; ++i) {
    const int64_t at = P * (i % R) + W * (i / R);
    g[i / R][i % R].store(g_io + at);
    (Vec::load(dA_io + at) + dA[i / R][i % R]).store(dA_io + at);
  }
}

struct BackwardScratch {
  alignas(64) float h[kHistory], decay[kHistory], dots[kChunk * W * 8], dy[kChunk * W];
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
      // Prefetches the rows that the next tile reads, a share of them with every channel: they lie too far apart for
      // the processor to prefetch them itself. Before the first token there are no rows; prefetching there is harmless.
      const bool turn = i + W >= group.size;
      const int64_t next_t = turn ? t0 - kChunk : t0, next_d = turn ? group.first : d + W;
      const float* next_states = s.states + ((b * chunks(s.L) + c - turn) * s.D + next_d) * P;
      auto ask_ahead = [&](int j, int R) {
        for (int t = j; t < kChunk; t += W) {
          for (int64_t at = next_t + t; at < next_t + t + R; ++at) {
            u.prefetch(at, next_d), dt.prefetch(at, next_d), z.prefetch(at, next_d);
            dy.prefetch(at, next_d), ungated.prefetch(at, next_d);
          }
        }
        for (int64_t q = 0; q < R * P; q += 16) __builtin_prefetch(next_states + j * P + q, 0, 2);
      };
      tile.load(s, steepest, u, dt, t0, T, d, n, exp2);
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
      for_blocks<kBackwardBlock / Vec::together>(vectors, [&](auto size, int k) {
        for_channels<Vec::together>(n, tile.steep, [&](auto channels, auto clamp, int j)
                                                       __attribute__((always_inline)) {
          constexpr int R = channels.value, NV = size.value;
          const float* a = A2 + (d + j) * P + W * k;
          const int64_t row = (i + j) * P + W * k;
          if (k == 0) ask_ahead(j, R);
          recompute_block<R, NV, clamp.value>(T, a, B + W * k, P, tile.dt + j, tile.dtu + j, states + row, x->h,
                                              x->decay, exp2);
          backward_block<R, NV>(T, a, B + W * k, C + W * k, dB + W * k, dC + W * k, P, tile.dt + j, tile.dtu + j,
                                x->dy + j, x->h, x->decay, g + row, dA + row, x->dots + 8 * j, k == 0);
        });
      });
      const Vec skip = read_params(s.skip, d, n);
      Vec sum_skip = Vec::of(0.0f), sum_bias = Vec::of(0.0f);
      for (int t = 0; t < T; ++t) {
        Vec grad = Vec::load(x->dy + W * t), in = Vec::load(tile.u + W * t);
        const float* dots = x->dots + 8 * W * t;
        Vec dot, decayed;
        separate(sum_partial(dots), sum_partial(dots + 4 * W), dot, decayed);
        du.write_vec(t0 + t, d, n, fma(dot, Vec::load(tile.dt + W * t), grad * skip));
        Vec step = fma(dot, in, decayed * Vec::of(kLn2)) * Vec::load(tile.slope + W * t);
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
