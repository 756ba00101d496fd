// The state space dual form, forward: in chunks of tokens, with c the running sum of the log decays in the chunk,
//
//   y_t = e^{c_t} h q_t + sum_{s<t} e^{c_t - c_s} w_s (q_t.k_s) v_s + g_t (q_t.k_t) v_t
//   h  <- e^{c_Q} h + sum_s e^{c_Q - c_s} w_s v_s k_s^T
//
// as products of matrices. Both terms of a row of y are added up in the same registers, and so it is backward: what a
// chunk needs does not fit the first-level cache, so that each array should be read and written as seldom as can be.
// With R ranks a token is R rows; a row sees all rows of its own token and of earlier ones. A work item is one sample and
// some heads of one group, which share the products of queries and keys. In scratch memory h is (N, P), so that a
// product adds along contiguous channels.

struct SsdForwardMemory : SsdChunk {
  float *h, *y;  // (heads, N, p), (rows, p)

  SsdForwardMemory(const SsdForward& s, float* memory)
      : SsdChunk(s, memory), h(carver.take(ssd_heads(s.B, s.G, s.H) * s.N * p)), y(carver.take(rows * p)) {}
};

// mixed: what each row takes of the rows it sees. Fetches the rows of y, which come next.
static void mix(const Ssd& s, SsdForwardMemory& m, const ChunkRows& y, const Exp2& exp2) {
  const Decays& d = m.decays;
  for (int64_t t = 0; t < y.T; ++t) {
    y.fetch_to_write(t * s.R, s.R);
    d.row(t, exp2, [&](int64_t i, Vec decay) { d.weight(t, i, decay).store(m.line + i); });
    const float* weights = spread(m.line, t + 1, s.R, m.wide);
    const int64_t seen = (t + 1) * s.R;
    for (int64_t r = t * s.R; r < seen; ++r) {
      const float* from = m.scores + r * m.l;
      float* to = m.mixed + r * m.l;
      int64_t i = 0;
      for (; i < seen; i += W) (Vec::load(weights + i) * Vec::load(from + i)).store(to + i);
      for (; i < m.read_until(seen, s.R); i += W) Vec::of(0.0f).store(to + i);
    }
  }
}

// One head in one chunk: y, and h of the state behind the chunk where `onward` says that it is wanted. `carried` says
// whether h is not zero, `more` whether another head follows.
static void ssd_forward_head(const SsdForward& s, SsdForwardMemory& m, const ChunkRows& v, const ChunkRows& y, float* h,
                             bool carried, bool more, bool onward, const Exp2& exp2) {
  const Decays& d = m.decays;
  const int64_t T = v.T, rows = T * s.R, n = m.n, p = m.p, l = m.l;
  v.read(p, m.v);
  mix(s, m, y, exp2);
  const Out out(y, p, m.y, m.to);
  const float* from_start = spread(d.from_start, T, s.R, m.wide);
  for_tiles(rows, p, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    if (j == 0 && more) v.fetch_next(i, M.value);
    Sums<M.value, NV.value> sums{};
    if (carried) {
      sums.add(s.N, {m.q + i * n, n, 1}, h + j, p);
      sums.visit([&](int r, int, Vec& x) { x = x * Vec::of(from_start[i + r]); });
    }
    sums.add(s.seen(i + M.value - 1), {m.mixed + i * l, l, 1}, m.v + j, p);
    sums.visit([&](int r, int v, Vec x) { x.store(out.at[i + r] + j + W * v); });
  });
  out.finish();
  if (!onward) return;
  for (int64_t t = 0; t < T; ++t) m.line[t] = d.to_end[t] * d.w[t];
  scale_rows(m.k, m.line, T, s.R, n, m.scaled);
  add_decayed(d.whole, s.N, rows, p, m.scaled, n, m.v, h);
}

static void ssd_forward_item(const SsdForward& s, int64_t number, float* memory) {
  const SsdItem item(s, number);
  SsdForwardMemory m(s, memory);
  const Rows q(s.q, item.b, s.L, s.reverse), k(s.k, item.b, s.L, s.reverse), v(s.v, item.b, s.L, s.reverse);
  const Rows y(s.y, item.b, s.L, s.reverse);
  const Exp2 exp2;
  const int64_t size = s.N * m.p, count = ssd_chunks(s.L, s.R), saved = s.P * padded(s.N);
  for (int64_t j = 0; j < item.heads; ++j) {
    const float* state = s.initial ? s.initial + (item.b * s.H + item.first + j) * s.P * s.N : nullptr;
    load_state(state, s.P, s.N, m.turned, m.h + j * size);
  }
  for (int64_t c = 0; c < count; ++c) {
    const int64_t t0 = c * m.Q, T = least(m.Q, s.L - t0);
    const bool carried = c > 0 || s.initial, last = c + 1 == count;
    m.load(s, {&q, t0, T, item.group, s.R, s.N}, {&k, t0, T, item.group, s.R, s.N});
    for (int64_t j = 0; j < item.heads; ++j) {
      const int64_t head = item.first + j;
      float* h = m.h + j * size;
      if (s.states && c > 0) {
        float* state = s.states + ((item.b * (count - 1) + c - 1) * s.H + head) * saved;
        transpose(h, m.p, s.N, s.P, state, padded(s.N), padded(s.N));
      }
      m.decays.load(s, item.b, head, t0, T, exp2);
      ssd_forward_head(s, m, {&v, t0, T, head, s.R, s.P}, {&y, t0, T, head, s.R, s.P}, h, carried, j + 1 < item.heads,
                       !last || s.final, exp2);
      if (last && s.final) store_state(h, s.P, s.N, m.turned, s.final + (item.b * s.H + head) * s.P * s.N);
    }
  }
}

template <class Memory, class Problem>
static void ssd_run(const Problem& s, void (*work)(const Problem&, int64_t, float*)) {
  const int64_t each = Memory(s, nullptr).carver.used;
  Scratch slots(each * s.threads);
  struct Context {
    const Problem& s;
    void (*work)(const Problem&, int64_t, float*);
    float* slots;
    int64_t each;
  } context{s, work, slots.data(), each};
  parallel_for(
      s.threads, SsdItem::count(s),
      [](void* p, int64_t item, int slot) {
        auto& c = *static_cast<Context*>(p);
        FlushDenormals guard;
        c.work(c.s, item, c.slots + c.each * slot);
      },
      &context);
}

static void ssd_forward(const SsdForward& s) { ssd_run<SsdForwardMemory>(s, ssd_forward_item); }
