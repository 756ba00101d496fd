// The state space dual form, backward. With A_ts = e^{c_t - c_s}, S = q k^T, E = dy v^T, weights X_ts = A_ts w_s below
// the diagonal and g_t on it, h the state before the chunk and dh the gradient of the one behind it:
//
//   dq = (X E) k + e^{c_t} h^T dy_t ;  dk = (X E)^T q + e^{c_Q - c_s} w_s dh^T v_s
//   dv = (X S)^T dy + e^{c_Q - c_s} w_s dh k_s ;  dh <- e^{c_Q} dh + sum_t e^{c_t} dy_t q_t^T
//   dw_s = sum_t A_ts S_ts E_ts + e^{c_Q - c_s} k_s.(dh^T v_s) ;  dg_t = S_tt E_tt
//   dc_t = sum_s A_ts w_s S_ts E_ts + e^{c_t} q_t.(h^T dy_t) - w_t dw_t
//   dc_Q += sum_s w_s e^{c_Q - c_s} k_s.(dh^T v_s) + e^{c_Q} <dh, h> ;  the log decay's gradient is the sum of later dc
//
// where X E and X S are elementwise, and S E at two tokens is the sum over their ranks. Chunks are walked from the last
// to the first; states come from forward, all else is made again.

struct SsdBackwardMemory : SsdChunk {
  float *dh, *dh_turned, *dy, *v_turned, *dmixed;  // (heads, N, p), (P, n), (rows, p), (P, l), (rows, l)
  float *dq, *dk, *dv;                             // (rows, n) twice, (rows, p)
  float *dw, *dg, *dc, *dots;                      // of a token; of a row

  SsdBackwardMemory(const SsdBackward& s, float* memory)
      : SsdChunk(s, memory),
        dh(carver.take(ssd_heads(s.B, s.G, s.H) * s.N * p)),
        dh_turned(carver.take(s.P * n)),
        dy(carver.take(rows * p)),
        v_turned(carver.take(s.P * l)),
        dmixed(carver.take(rows * l)),
        dq(carver.take(rows * n)),
        dk(carver.take(rows * n)),
        dv(carver.take(rows * p)),
        dw(carver.take(whole_vectors(Q))),
        dg(carver.take(whole_vectors(Q))),
        dc(carver.take(whole_vectors(Q))),
        dots(carver.take(l)) {}
};

// <a, b> over a number of whole vectors.
static float dot(const float* a, const float* b, int64_t floats) {
  Vec sum[2] = {Vec::of(0.0f), Vec::of(0.0f)};
  int64_t i = 0;
  for (; i + 2 * W <= floats; i += 2 * W) {
    sum[0] = fma(Vec::load(a + i), Vec::load(b + i), sum[0]);
    sum[1] = fma(Vec::load(a + i + W), Vec::load(b + i + W), sum[1]);
  }
  if (i < floats) sum[0] = fma(Vec::load(a + i), Vec::load(b + i), sum[0]);
  return sum_lanes(sum[0] + sum[1]);
}

// From E in dmixed: X S in mixed, X E in dmixed; and what the pairs of tokens give to dw, dg and dc.
static void unmix(const Ssd& s, SsdBackwardMemory& m, int64_t T, const Exp2& exp2) {
  const Decays& d = m.decays;
  zero(m.dw, whole_vectors(T));
  for (int64_t t = 0; t < T; ++t) {
    const int64_t first = t * s.R, seen = first + s.R;
    float* both = m.line;  // S E of this token and earlier ones: the sum over ranks
    for (int64_t i = 0; i < seen; i += W) {
      Vec sum = Vec::of(0.0f);
      for (int64_t r = first; r < seen; ++r) {
        sum = fma(Vec::load(m.scores + r * m.l + i), Vec::load(m.dmixed + r * m.l + i), sum);
      }
      sum.store((s.R == 1 ? both : m.wide) + i);
    }
    for (int64_t i = 0; s.R > 1 && i <= t; ++i) {
      float sum = 0.0f;
      for (int64_t r = 0; r < s.R; ++r) sum += m.wide[i * s.R + r];
      both[i] = sum;
    }
    m.dg[t] = both[t];
    for (int64_t i = t + 1; i < whole_vectors(t + 1); ++i) both[i] = 0.0f;
    Vec row = Vec::of(0.0f);
    d.row(t, exp2, [&](int64_t i, Vec decay) {
      const Vec decayed = decay * Vec::load(both + i);
      row = fma(decayed, Vec::load(d.w + i), row);
      (Vec::load(m.dw + i) + decayed).store(m.dw + i);
      d.weight(t, i, decay).store(both + i);
    });
    m.dc[t] = sum_lanes(row);
    const float* weights = spread(m.line, t + 1, s.R, m.wide);
    for (int64_t r = first; r < seen; ++r) {
      const float* scores = m.scores + r * m.l;
      float *mixed = m.mixed + r * m.l, *dmixed = m.dmixed + r * m.l;
      int64_t i = 0;
      for (; i < seen; i += W) {
        const Vec x = Vec::load(weights + i);
        (x * Vec::load(scores + i)).store(mixed + i);
        (x * Vec::load(dmixed + i)).store(dmixed + i);
      }
      for (; i < m.read_until(seen, s.R); i += W) Vec::of(0.0f).store(mixed + i), Vec::of(0.0f).store(dmixed + i);
    }
  }
}

// The tensors' rows of one head in a chunk, and what is known of it.
struct SsdBackwardHead {
  ChunkRows v, dy, dv;
  float* dh;             // (N, p): of the state behind the chunk, then of the one before it
  const float* state;    // before the chunk: P rows, `stride` floats apart; null if it is zero
  int64_t stride;
  bool from_later;       // whether dh comes with anything
  bool onward;           // whether dh of the state before the chunk is wanted
  bool more;             // whether another head follows
};

// dots[i] += <x_i, y_i> over the vectors of a block, whose rows of y are ldy floats apart.
template <class Block>
__attribute__((always_inline)) static inline void add_dots(Block& x, const float* y, int64_t ldy, float* dots) {
  Vec sums[Block::rows] = {};
  x.visit([&](int r, int v, Vec one) { sums[r] = fma(one, Vec::load(y + r * ldy + W * v), sums[r]); });
  for (int r = 0; r < Block::rows; ++r) dots[r] += sum_lanes(sums[r]);
}

// Adds a block to a matrix whose rows are ldc floats apart.
template <class Block>
__attribute__((always_inline)) static inline void add_block(Block& x, float* c, int64_t ldc) {
  x.visit([&](int r, int v, Vec one) { (Vec::load(c + r * ldc + W * v) + one).store(c + r * ldc + W * v); });
}

// dv = last dh k + (X S)^T dy, with last_s = e^{c_Q - c_s} w_s of the row.
static void ssd_dv(const SsdBackward& s, SsdBackwardMemory& m, const SsdBackwardHead& head, const float* last) {
  const int64_t R = s.R, rows = head.v.T * R, n = m.n, p = m.p, l = m.l;
  const Out out(head.dv, p, m.dv, m.to);
  for_tiles(rows, p, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    Sums<M.value, NV.value> sums{};
    if (head.from_later) {
      sums.add(s.N, {m.k + i * n, n, 1}, head.dh + j, p);
      sums.visit([&](int r, int, Vec& x) { x = x * Vec::of(last[i + r]); });
    }
    const int64_t begin = s.seen(i) - R;  // of the row's token, the first that sees it
    sums.add(rows - begin, {m.mixed + begin * l + i, 1, l}, m.dy + begin * p + j, p);
    sums.visit([&](int r, int v, Vec x) { x.store(out.at[i + r] + j + W * v); });
  });
  out.finish();
}

// dk += last dh^T v + (X E)^T q ; dots = k.(dh^T v) of each row.
static void ssd_dk(const SsdBackward& s, SsdBackwardMemory& m, const SsdBackwardHead& head, const float* last) {
  const int64_t R = s.R, rows = head.v.T * R, n = m.n, p = m.p, l = m.l;
  zero(m.dots, l);
  for_tiles(rows, n, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    if (j == 0 && head.more) head.v.fetch_next(i, M.value);
    Sums<M.value, NV.value> sums{};
    if (head.from_later) {
      sums.add(s.P, {m.v + i * p, p, 1}, m.dh_turned + j, n);
      add_dots(sums, m.k + i * n + j, n, m.dots + i);
      sums.visit([&](int r, int, Vec& x) { x = x * Vec::of(last[i + r]); });
    }
    const int64_t begin = s.seen(i) - R;
    sums.add(rows - begin, {m.dmixed + begin * l + i, 1, l}, m.q + begin * n + j, n);
    add_block(sums, m.dk + i * n + j, n);
  });
}

// dq += from_start h^T dy + (X E) k ; scaled = from_start q ; dots = q.(from_start h^T dy) of each row.
static void ssd_dq(const SsdBackward& s, SsdBackwardMemory& m, const SsdBackwardHead& head, const float* from_start) {
  const int64_t rows = head.v.T * s.R, n = m.n, p = m.p, l = m.l;
  zero(m.dots, l);
  for_tiles(rows, n, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    if (j == 0 && head.more) head.dy.fetch_next(i, M.value);
    Sums<M.value, NV.value> sums{};
    if (head.state) {
      sums.add(s.P, {m.dy + i * p, p, 1}, head.state + j, head.stride);
      sums.visit([&](int r, int v, Vec& x) {
        const int64_t at = (i + r) * n + j + W * v;
        const Vec by = Vec::of(from_start[i + r]);
        (Vec::load(m.q + at) * by).store(m.scaled + at);
        x = x * by;
      });
      add_dots(sums, m.q + i * n + j, n, m.dots + i);
    }
    sums.add(s.seen(i + M.value - 1), {m.dmixed + i * l, l, 1}, m.k + j, n);
    add_block(sums, m.dq + i * n + j, n);
  });
}

// One head in one chunk: adds to dq and dk, fills dv, dw, dg and dc, and leaves dh of the state before the chunk.
static void ssd_backward_head(const SsdBackward& s, SsdBackwardMemory& m, const SsdBackwardHead& head,
                              const Exp2& exp2) {
  const Decays& d = m.decays;
  const int64_t T = head.v.T, R = s.R, rows = T * R, n = m.n, p = m.p;
  head.v.read(p, m.v);
  head.dy.read(p, m.dy);
  transpose(m.v, p, rows, s.P, m.v_turned, m.l, m.l);
  m.seen_product(s, rows, s.P, m.dy, p, m.v_turned, m.dmixed,
                 [&](int64_t row, int64_t count) { head.dv.fetch_to_write(row, count); });
  unmix(s, m, T, exp2);
  for (int64_t t = 0; t < T; ++t) {
    m.dc[t] -= d.w[t] * m.dw[t];
    m.line[t] = d.to_end[t] * d.w[t];
  }
  const float* last = spread(m.line, T, R, m.wide);
  ssd_dv(s, m, head, last);
  if (head.from_later) transpose(head.dh, p, s.N, s.P, m.dh_turned, n, n);
  ssd_dk(s, m, head, last);
  if (head.from_later) {
    double all = 0.0;
    for (int64_t t = 0; t < T; ++t) {
      float grad = 0.0f;
      for (int64_t r = 0; r < R; ++r) grad += m.dots[t * R + r];
      grad *= d.to_end[t];
      const float moved = grad * d.w[t];
      m.dw[t] += grad;
      m.dc[t] -= moved;
      all += moved;
    }
    if (head.state) {
      double sum = 0.0;
      for (int64_t i = 0; i < s.P; ++i) sum += dot(m.dh_turned + i * n, head.state + i * head.stride, n);
      all += sum * d.whole;
    }
    m.dc[T - 1] += static_cast<float>(all);
  }
  ssd_dq(s, m, head, spread(d.from_start, T, R, m.wide));
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t r = 0; r < R; ++r) m.dc[t] += m.dots[t * R + r];
  }
  if (head.onward) add_decayed(d.whole, s.N, rows, p, m.scaled, n, m.dy, head.dh);
}

static void ssd_backward_item(const SsdBackward& s, int64_t number, float* memory) {
  const SsdItem item(s, number);
  SsdBackwardMemory m(s, memory);
  const auto rows_of = [&](View view, int64_t offset = 0) {
    if (view.data) view.data = static_cast<char*>(view.data) + (view.bf16 ? 2 : 4) * offset;
    return Rows(view, item.b, s.L, s.reverse);
  };
  const Rows q = rows_of(s.q), k = rows_of(s.k), v = rows_of(s.v), dy = rows_of(s.dy), dv = rows_of(s.dv);
  const Rows dq = rows_of(s.dq, item.part * s.part), dk = rows_of(s.dk, item.part * s.part);
  const Exp2 exp2;
  const int64_t size = s.N * m.p, count = ssd_chunks(s.L, s.R), saved = s.P * padded(s.N);
  for (int64_t j = 0; j < item.heads; ++j) {
    const float* state = s.dfinal ? s.dfinal + (item.b * s.H + item.first + j) * s.P * s.N : nullptr;
    load_state(state, s.P, s.N, m.turned, m.dh + j * size);
  }
  for (int64_t c = count - 1; c >= 0; --c) {
    const int64_t t0 = c * m.Q, T = least(m.Q, s.L - t0), rows = T * s.R;
    const bool first = c == 0, from_later = c + 1 < count || s.dfinal;
    m.load(s, {&q, t0, T, item.group, s.R, s.N}, {&k, t0, T, item.group, s.R, s.N});
    zero(m.dq, rows * m.n), zero(m.dk, rows * m.n);
    for (int64_t j = 0; j < item.heads; ++j) {
      const int64_t head = item.first + j;
      m.decays.load(s, item.b, head, t0, T, exp2);
      const float* state = nullptr;
      if (!first) {
        state = s.states + ((item.b * (count - 1) + c - 1) * s.H + head) * saved;
      } else if (s.initial) {
        fill_up(s.initial + (item.b * s.H + head) * s.P * s.N, s.P, s.N, m.turned);
        state = m.turned;
      }
      const auto of = [&](const Rows& x) { return ChunkRows{&x, t0, T, head, s.R, s.P}; };
      ssd_backward_head(s, m, {of(v), of(dy), of(dv), m.dh + j * size, state, first ? m.n : padded(s.N), from_later,
                               !first || s.dinitial, j + 1 < item.heads}, exp2);
      double later = 0.0;
      for (int64_t t = T - 1; t >= 0; --t) {
        const int64_t at = (item.b * s.L + (s.reverse ? s.L - 1 - t0 - t : t0 + t)) * s.H + head;
        later += m.dc[t];
        s.dlog_decay[at] = static_cast<float>(later), s.dw[at] = m.dw[t], s.dg[at] = m.dg[t];
      }
    }
    ChunkRows{&dq, t0, T, item.group, s.R, s.N}.write(m.n, m.dq);
    ChunkRows{&dk, t0, T, item.group, s.R, s.N}.write(m.n, m.dk);
  }
  for (int64_t j = 0; s.dinitial && j < item.heads; ++j) {
    store_state(m.dh + j * size, s.P, s.N, m.turned, s.dinitial + (item.b * s.H + item.first + j) * s.P * s.N);
  }
}

static void ssd_backward(const SsdBackward& s) { ssd_run<SsdBackwardMemory>(s, ssd_backward_item); }
