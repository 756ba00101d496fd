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
  float *dq, *dk, *dv, *part;                      // (rows, n) twice, (rows, p), (rows, n)
  float *dw, *dg, *dc;                             // of a token

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
        part(carver.take(rows * n)),
        dw(carver.take(whole_vectors(Q))),
        dg(carver.take(whole_vectors(Q))),
        dc(carver.take(whole_vectors(Q))) {}
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

static void add(const float* x, int64_t floats, float* to) {
  for (int64_t i = 0; i < floats; i += W) (Vec::load(to + i) + Vec::load(x + i)).store(to + i);
}

// From E in dmixed: X S in mixed, X E in dmixed; and what the pairs of tokens give to dw, dg and dc.
template <class Ahead>
static void unmix(const Ssd& s, SsdBackwardMemory& m, int64_t T, const Exp2& exp2, Ahead ahead) {
  const Decays& d = m.decays;
  zero(m.dw, whole_vectors(T));
  for (int64_t t = 0; t < T; ++t) {
    ahead(t);
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

// One head in one chunk: adds to dq and dk, fills dv, dw, dg and dc, and leaves dh of the state before the chunk, which
// comes as P rows, `stride` apart, or is null if it is zero. `from_later` says whether dh is not zero.
template <class Ahead>
static void ssd_backward_head(const SsdBackward& s, SsdBackwardMemory& m, int64_t T, float* dh, const float* state,
                              int64_t stride, bool from_later, bool first, const Exp2& exp2, Ahead ahead) {
  const Decays& d = m.decays;
  const int64_t R = s.R, rows = T * R, n = m.n, p = m.p, l = m.l;
  transpose(m.v, p, rows, s.P, m.v_turned, l, l);
  product(Part::below, R, rows, s.P, l, {m.dy, p, 1}, m.v_turned, l, m.dmixed, l, false);
  unmix(s, m, T, exp2, ahead);
  product(Part::later, R, rows, rows, p, {m.mixed, 1, l}, m.dy, p, m.dv, p, false);
  product(Part::earlier, R, rows, rows, n, {m.dmixed, l, 1}, m.k, n, m.dq, n, true);
  product(Part::later, R, rows, rows, n, {m.dmixed, 1, l}, m.q, n, m.dk, n, true);
  for (int64_t t = 0; t < T; ++t) m.dc[t] -= d.w[t] * m.dw[t];

  if (from_later) {
    for (int64_t t = 0; t < T; ++t) m.line[t] = d.to_end[t] * d.w[t];
    scale_rows(m.k, m.line, T, R, n, m.scaled);
    product(Part::all, R, rows, s.N, p, {m.scaled, n, 1}, dh, p, m.dv, p, true);
    transpose(dh, p, s.N, s.P, m.dh_turned, n, n);
    scale_rows(m.v, d.to_end, T, R, p, m.scaled);
    product(Part::all, R, rows, s.P, n, {m.scaled, p, 1}, m.dh_turned, n, m.part, n, false);
    double all = 0.0;
    for (int64_t t = 0; t < T; ++t) {
      const float grad = dot(m.k + t * R * n, m.part + t * R * n, R * n), moved = grad * d.w[t];
      m.dw[t] += grad;
      m.dc[t] -= moved;
      all += moved;
    }
    if (state) {
      double sum = 0.0;
      for (int64_t i = 0; i < s.P; ++i) sum += dot(m.dh_turned + i * n, state + i * stride, n);
      all += sum * d.whole;
    }
    m.dc[T - 1] += static_cast<float>(all);
    scale_rows(m.part, d.w, T, R, n, m.part);
    add(m.part, rows * n, m.dk);
  }
  if (state) {
    scale_rows(m.dy, d.from_start, T, R, p, m.scaled);
    product(Part::all, R, rows, s.P, n, {m.scaled, p, 1}, state, stride, m.part, n, false);
    for (int64_t t = 0; t < T; ++t) m.dc[t] += dot(m.q + t * R * n, m.part + t * R * n, R * n);
    add(m.part, rows * n, m.dq);
  }
  if (!first || s.dinitial) {
    const Vec whole = Vec::of(d.whole);
    for (int64_t i = 0; i < s.N * p; i += W) (Vec::load(dh + i) * whole).store(dh + i);
    scale_rows(m.q, d.from_start, T, R, n, m.scaled);
    product(Part::all, R, s.N, rows, p, {m.scaled, 1, n}, m.dy, p, dh, p, true);
  }
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
    m.load(s, q, k, item.group, t0, T);
    zero(m.dq, rows * m.n), zero(m.dk, rows * m.n);
    for (int64_t j = 0; j < item.heads; ++j) {
      const int64_t head = item.first + j;
      m.decays.load(s, item.b, head, t0, T, exp2);
      read_rows(v, t0, T, head, s.R, s.P, m.p, m.v);
      read_rows(dy, t0, T, head, s.R, s.P, m.p, m.dy);
      const float* state = nullptr;
      if (!first) {
        state = s.states + ((item.b * (count - 1) + c - 1) * s.H + head) * saved;
      } else if (s.initial) {
        fill_up(s.initial + (item.b * s.H + head) * s.P * s.N, s.P, s.N, m.turned);
        state = m.turned;
      }
      const int64_t size_v = s.R * s.P;
      const int64_t stride = first ? m.n : padded(s.N);
      ssd_backward_head(s, m, T, m.dh + j * size, state, stride, from_later, first, exp2, [&](int64_t t) {
        dv.prefetch(t0 + t, head * size_v, size_v, true);
        if (j + 1 == item.heads) return;
        v.prefetch(t0 + t, (head + 1) * size_v, size_v, false);
        dy.prefetch(t0 + t, (head + 1) * size_v, size_v, false);
      });
      write_rows(dv, t0, T, head, s.R, s.P, m.p, m.dv);
      double later = 0.0;
      for (int64_t t = T - 1; t >= 0; --t) {
        const int64_t at = (item.b * s.L + (s.reverse ? s.L - 1 - t0 - t : t0 + t)) * s.H + head;
        later += m.dc[t];
        s.dlog_decay[at] = static_cast<float>(later), s.dw[at] = m.dw[t], s.dg[at] = m.dg[t];
      }
    }
    write_rows(dq, t0, T, item.group, s.R, s.N, m.n, m.dq);
    write_rows(dk, t0, T, item.group, s.R, s.N, m.n, m.dk);
  }
  for (int64_t j = 0; s.dinitial && j < item.heads; ++j) {
    store_state(m.dh + j * size, s.P, s.N, m.turned, s.dinitial + (item.b * s.H + item.first + j) * s.P * s.N);
  }
}

static void ssd_backward(const SsdBackward& s) { ssd_run<SsdBackwardMemory>(s, ssd_backward_item); }
