// The selective scan, backward. With g_t the gradient of h_t, a_t = exp(dt_t A) and dy_t that of <C_t, h_t>:
//
//   g_t = C_t dy_t + a_{t+1} g_{t+1} ;  q_t = g_t a_t h_{t-1}
//   dC_t = sum_D h_t dy_t ;  dB_t = sum_D g_t dt_t u_t ;  dA = sum_{B,t} q_t dt_t
//   d(dt_t) = sum_N q_t A + u_t <g_t, B_t> ;  du_t = dt_t <g_t, B_t> + D dy_t
//
// Chunks are walked from the last to the first. In each, a few states at a time go through all channels: their a and h
// are recomputed from the stored state before the chunk and kept in first-level cache, and so are their dB and dC of
// each lane, which are summed across lanes at the end. Sums over samples and groups of channels run in a fixed order.

// Rows of W for each token of a chunk and each of kStates states.
constexpr int kHistory = kChunk * kStates * W;

struct BackwardScratch {
  Inputs in;
  alignas(64) float slope[kRowsOfGroup], dy[kRowsOfGroup];
  alignas(64) float dot[kRowsOfGroup], decayed[kRowsOfGroup];  // <g_t, B_t> and <q_t, A2>
  // a_t, h from before the first token on, and the gradients of B and C in each lane.
  alignas(64) float decay[kHistory], h[kHistory + kStates * W], dB[kHistory + W * W], dC[kHistory + W * W];
  alignas(64) float dskip[kGroup], dbias[kGroup];
};

// Recomputes a and h for the vector of channels at `row` and S states.
template <int S, bool CLAMP>
static inline void recompute_block(BackwardScratch& x, int64_t row, int T, const float* A2, const float* B, int64_t N,
                                   const float* state, const Exp2& exp2) {
  Vec h[S], decay[S];
#pragma GCC unroll 8
  for (int k = 0; k < S; ++k) {
    h[k] = Vec::load(state + kPad * k);
    h[k].store(x.h + W * k);
  }
  for (int t = 0; t < T; ++t, row += W, B += N) {
    const Vec input = Vec::load(x.in.dtu + row);
    exp2.of_products<S, CLAMP>(Vec::load(x.in.dt + row), A2, decay);
#pragma GCC unroll 8
    for (int k = 0; k < S; ++k) {
      const int at = W * (t * S + k);
      h[k] = fma(decay[k], h[k], input * Vec::of(B[k]));
      decay[k].store(x.decay + at);
      h[k].store(x.h + at + W * S);
    }
  }
}

// The gradients of the same; those of B and C, and the sums over states, are added to what is there.
template <int S>
static inline void backward_block(BackwardScratch& x, int64_t row, int T, const float* A2, const float* B,
                                  const float* C, int64_t N, float* g_io, float* dA_io) {
  Vec g[S], dA[S], after[S], A[S];
#pragma GCC unroll 8
  for (int k = 0; k < S; ++k) {
    g[k] = Vec::load(g_io + kPad * k), dA[k] = Vec::load(dA_io + kPad * k);
    after[k] = Vec::load(x.h + W * (T * S + k)), A[k] = Vec::load(A2 + kPad * k);
  }
  B += (T - 1) * N, C += (T - 1) * N, row += W * (T - 1);
  for (int t = T - 1; t >= 0; --t, row -= W, B -= N, C -= N) {
    const Vec step = Vec::load(x.in.dt + row), input = Vec::load(x.in.dtu + row), out = Vec::load(x.dy + row);
    Vec dot = Vec::load(x.dot + row), decayed = Vec::load(x.decayed + row);
#pragma GCC unroll 8
    for (int k = 0; k < S; ++k) {
      const int at = W * (t * S + k);
      const Vec grad = fma(Vec::of(C[k]), out, g[k]);
      fma(after[k], out, Vec::load(x.dC + at)).store(x.dC + at);
      fma(grad, input, Vec::load(x.dB + at)).store(x.dB + at);
      dot = fma(grad, Vec::of(B[k]), dot);
      g[k] = grad * Vec::load(x.decay + at);
      after[k] = Vec::load(x.h + at);
      const Vec q = g[k] * after[k];
      decayed = fma(q, A[k], decayed);
      dA[k] = fma(q, step, dA[k]);
    }
    dot.store(x.dot + row);
    decayed.store(x.decayed + row);
  }
#pragma GCC unroll 8
  for (int k = 0; k < S; ++k) g[k].store(g_io + kPad * k), dA[k].store(dA_io + kPad * k);
}

// to[t N + k] = the sum of the lanes of row t S + k.
template <int S>
static void sum_rows(const float* rows, int T, int64_t N, float* to) {
  static_assert(W % S == 0);
  for (int t = 0; t < T; t += W / S, rows += W * W) {
    alignas(64) float partial[4 * W], sums[W];
#pragma GCC unroll 4
    for (int i = 0; i < W; i += Vec::fold) {
      Vec x[Vec::fold];
#pragma GCC unroll 4
      for (int j = 0; j < Vec::fold; ++j) x[j] = Vec::load(rows + (i + j) * W);
      store_partial(x, partial + 4 * i, true);
    }
    sum_partial(partial).store(sums);
    for (int i = 0; i < W / S && t + i < T; ++i) __builtin_memcpy(to + (t + i) * N, sums + i * S, sizeof(float) * S);
  }
}

// Partial gradients of the work items; summed once all are done.
struct Partials {
  float *dA, *dB, *dC, *dskip, *dbias;  // (B, D as lanes, N), (items, L, N) twice, (B, D) twice

  Partials(const ScanBackward& s, float* memory) {
    dA = memory;
    dB = dA + s.B * padded(s.D) * s.N;
    dC = dB + items(s.B, s.D) * s.L * s.N;
    dskip = dC + items(s.B, s.D) * s.L * s.N;
    dbias = dskip + s.B * s.D;
  }
  static int64_t floats(const ScanBackward& s) {
    return s.B * (padded(s.D) * s.N + 2 * s.D) + 2 * items(s.B, s.D) * s.L * s.N;
  }
};

static int64_t backward_floats(int64_t N) { return floats_of<BackwardScratch>() + kGroup * N + 4 * padded(kChunk * N); }

static void backward_item(const ScanBackward& s, const float* A2, const Partials& partials, int64_t item,
                          float* memory) {
  const int64_t N = s.N;
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
  const int64_t of_chunk = padded(kChunk * N);
  float* g = memory + floats_of<BackwardScratch>();
  float *B = g + kGroup * N, *C = B + of_chunk, *dB = C + of_chunk, *dC = dB + of_chunk;
  const float *rates = A2 + group.first * N, *steepest = A2 + padded(s.D) * N;
  float* dA = partials.dA + (b * padded(s.D) + group.first) * N;
  to_lanes(s.dfinal ? s.dfinal + (b * s.D + group.first) * N : nullptr, group.size, N, g);
  __builtin_memset(dA, 0, sizeof(float) * padded(group.size) * N);
  zero(x->dskip, kGroup), zero(x->dbias, kGroup);
  x->in.start(s, group);

  for (int64_t c = chunks(s.L) - 1; c >= 0; --c) {
    const int64_t t0 = c * kChunk;
    const int T = static_cast<int>(least(kChunk, s.L - t0));
    const float* states = s.states + ((b * chunks(s.L) + c) * padded(s.D) + group.first) * N;
    for (int t = 0; t < T; ++t) {
      Bm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(N), B + t * N);
      Cm.read(t0 + t, 0, static_cast<int>(N), static_cast<int>(N), C + t * N);
    }
    x->in.load(s, group, steepest, u, dt, t0, T, x->slope, exp2);
    for (int t = 0; t < T; ++t) {
      group.walk([&](int64_t i, int n) {
        const int64_t d = group.first + i;
        Vec grad = dy.read_vec(t0 + t, d, n);
        if (z) {  // silu'(z) = s (1 + z - z s), s = sigmoid(z)
          const Vec gate = z.read_vec(t0 + t, d, n), sig = sigmoid(gate, exp2), silu = gate * sig;
          const Vec slope = sig * (one + (gate - silu));
          dz.write_vec(t0 + t, d, n, grad * ungated.read_vec(t0 + t, d, n) * slope);
          grad = grad * silu;
        }
        grad.store(x->dy + row_of(i, t));
        Vec::of(0.0f).store(x->dot + row_of(i, t));
        Vec::of(0.0f).store(x->decayed + row_of(i, t));
      });
    }
    // Meanwhile the rows of the next chunk are fetched, a share of them with every block.
    const int64_t next = least(kChunk, t0), blocks = parts_of(group.size, W) * N;
    const Rows* read[] = {&u, &dt, &z, &dy, &ungated};
    auto fetch_ahead = [&](int64_t block, int64_t count) {
      for (int64_t t = block * next / blocks; t < (block + count) * next / blocks; ++t) {
        for (const Rows* rows : read) {
          if (*rows) rows->prefetch(t0 - next + t, group.first, group.size, false);
        }
      }
    };
    for_states(N, [&](auto count, int64_t n) {
      constexpr int S = count.value;
      zero(x->dB, W * T * S), zero(x->dC, W * T * S);
      group.walk([&](int64_t i, int) {
        const int64_t at = lane(i, N) + kPad * n, row = row_of(i, 0);
        fetch_ahead(n * parts_of(group.size, W) + i / W * S, S);
        with(x->in.steep[i / W], [&](auto clamp) {
          recompute_block<S, clamp.value>(*x, row, T, rates + at, B + n, N, states + at, exp2);
        });
        backward_block<S>(*x, row, T, rates + at, B + n, C + n, N, g + at, dA + at);
      });
      sum_rows<S>(x->dB, T, N, dB + n);
      sum_rows<S>(x->dC, T, N, dC + n);
    });
    for (int t = 0; t < T; ++t) {
      group.walk([&](int64_t i, int n) {
        const int64_t d = group.first + i, row = row_of(i, t);
        const Vec grad = Vec::load(x->dy + row), in = Vec::load(x->in.u + row), dot = Vec::load(x->dot + row);
        du.write_vec(t0 + t, d, n, fma(dot, Vec::load(x->in.dt + row), grad * Vec::load(x->in.skip + i)));
        const Vec total = fma(dot, in, Vec::load(x->decayed + row) * Vec::of(kLn2));
        const Vec step = total * Vec::load(x->slope + row);
        ddt.write_vec(t0 + t, d, n, step);
        fma(grad, in, Vec::load(x->dskip + i)).store(x->dskip + i);
        (Vec::load(x->dbias + i) + step).store(x->dbias + i);
      });
      const int64_t at = (item * s.L + (s.reverse ? s.L - 1 - t0 - t : t0 + t)) * N;
      __builtin_memcpy(partials.dB + at, dB + t * N, sizeof(float) * N);
      __builtin_memcpy(partials.dC + at, dC + t * N, sizeof(float) * N);
    }
  }
  __builtin_memcpy(partials.dskip + b * s.D + group.first, x->dskip, sizeof(float) * group.size);
  __builtin_memcpy(partials.dbias + b * s.D + group.first, x->dbias, sizeof(float) * group.size);
  if (s.dinitial) from_lanes(g, group.size, N, s.dinitial + (b * s.D + group.first) * N);
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
  const int64_t all = padded(s.D) * s.N, size = padded(group.size) * s.N;
  float* dA = partials.dA + group.first * s.N;
  for (int64_t b = 1; b < s.B; ++b) {
    for (int64_t i = 0; i < size; ++i) dA[i] += dA[b * all + i];
  }
  if (s.B == 0) {
    zero(s.dA + group.first * s.N, group.size * s.N);
  } else {
    from_lanes(dA, group.size, s.N, s.dA + group.first * s.N);
  }
  for (int64_t d = group.first; d < group.first + group.size; ++d) {
    float skip = 0.0f, bias = 0.0f;
    for (int64_t b = 0; b < s.B; ++b) {
      skip += partials.dskip[b * s.D + d];
      bias += partials.dbias[b * s.D + d];
    }
    if (s.dskip) s.dskip[d] = skip;
    if (s.dbias) s.dbias[d] = bias;
  }
}

static void scan_backward(const ScanBackward& s) {
  const int64_t each = backward_floats(s.N);
  Scratch shared(padded(s.D) * (s.N + 1)), slots(each * s.threads), sums(Partials::floats(s));
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
