// The state space dual form, forward: in chunks of tokens, with c the running sum of the log decays in the chunk,
//
//   y_t = e^{c_t} h q_t + sum_{s<t} e^{c_t - c_s} w_s (q_t.k_s) v_s + g_t (q_t.k_t) v_t
//   h  <- e^{c_Q} h + sum_s e^{c_Q - c_s} w_s v_s k_s^T
//
// as products of matrices. With R ranks a token is R rows; a row sees all rows of its own token and of earlier ones.
// A work item is one sample and some heads of one group, which share the products of queries and keys. In scratch
// memory h is (N, P), so that a product adds along contiguous channels.

// Hands out pieces of scratch memory; without memory it only counts.
struct Carver {
  float* base;
  int64_t used = 0;

  float* take(int64_t floats) {
    float* piece = base ? base + used : nullptr;
    used += (floats + 15) / 16 * 16;
    return piece;
  }
};

struct SsdItem {
  int64_t b, group, part, first, heads;  // `heads` heads from `first` on

  SsdItem(const Ssd& s, int64_t item) {
    const int64_t each = ssd_heads(s.B, s.G, s.H), shared = s.H / s.G, parts = parts_of(shared, each);
    part = item % parts, group = item / parts % s.G, b = item / parts / s.G;
    first = group * shared + part * each;
    heads = least(each, (group + 1) * shared - first);
  }

  static int64_t count(const Ssd& s) { return s.B * s.G * parts_of(s.H / s.G, ssd_heads(s.B, s.G, s.H)); }
};

// One head's decays and weights in a chunk. Differences of c decide: c is summed in double, and kept as two floats.
struct Decays {
  float *high, *low;            // of c / ln 2
  float *from_start, *to_end;   // e^{c_t} and e^{c_Q - c_t}
  float *w, *g;
  float whole = 1.0f;           // e^{c_Q}
  // Below the vectors with the diagonal, e^{c_t - c_s} = e^{c_t - c_a} e^{c_a - c_s}, a the last token of s's vector.
  float *from_anchor, *to_anchor;  // the first factor by vectors of s, of all t each, and the second
  float *below, *own;           // for the vector with the diagonal in lane i: which lanes lie below, which is its own
  int64_t n;

  Decays(Carver& carver, int64_t Q) : n(whole_vectors(Q)) {
    from_anchor = carver.take(n / W * n), to_anchor = carver.take(n);
    float** const lines[] = {&high, &low, &from_start, &to_end, &w, &g};
    for (float** line : lines) *line = carver.take(n);
    below = carver.take(W * W), own = carver.take(W * W);
    if (!own) return;
    for (int i = 0; i < W; ++i) {
      for (int j = 0; j < W; ++j) below[W * i + j] = j < i, own[W * i + j] = j == i;
    }
  }

  // The T tokens of sample b from t0 on, as the scan walks them.
  void load(const Ssd& s, int64_t b, int64_t head, int64_t t0, int64_t T, const Exp2& exp2) {
    double c = 0.0;
    for (int64_t t = 0; t < whole_vectors(T); ++t) {
      if (t < T) {
        const int64_t at = (b * s.L + (s.reverse ? s.L - 1 - t0 - t : t0 + t)) * s.H + head;
        c += static_cast<double>(s.log_decay[at]) * 1.4426950408889634;
        w[t] = s.w[at], g[t] = s.g[at];
      } else {
        w[t] = g[t] = 0.0f;
      }
      high[t] = static_cast<float>(c);
      low[t] = static_cast<float>(c - high[t]);
    }
    const Vec end_high = Vec::of(high[T - 1]), end_low = Vec::of(low[T - 1]);
    for (int64_t t = 0; t < T; t += W) {
      Vec x[2];
      x[0] = Vec::load(high + t);
      x[1] = (end_high - x[0]) + (end_low - Vec::load(low + t));
      exp2.apply<2, true>(x);
      x[0].store(from_start + t), x[1].store(to_end + t);
    }
    whole = from_start[T - 1];
    for (int64_t s0 = 0; s0 + W < T; s0 += W) {
      const Vec a_high = Vec::of(high[s0 + W - 1]), a_low = Vec::of(low[s0 + W - 1]);
      for (int64_t t = s0; t < T; t += W) {
        Vec x = (Vec::load(high + t) - a_high) + (Vec::load(low + t) - a_low);
        if (t == s0) x = Vec::of(0.0f) - x;
        exp2.apply<1, true>(&x);
        x.store(t == s0 ? to_anchor + t : from_anchor + s0 / W * n + t);
      }
    }
  }

  // Calls use(s, decay) for the vectors of tokens s up to token t: e^{c_t - c_s} where s < t, else 0.
  template <class Use>
  void row(int64_t t, const Exp2& exp2, Use use) const {
    const Vec t_high = Vec::of(high[t]), t_low = Vec::of(low[t]);
    int64_t s = 0;
    for (; s + W <= t; s += W) use(s, Vec::of(from_anchor[s / W * n + t]) * Vec::load(to_anchor + s));
    const Vec lanes = Vec::load(below + W * (t - s));
    Vec x = ((t_high - Vec::load(high + s)) + (t_low - Vec::load(low + s))) * lanes;
    exp2.apply<1, true>(&x);
    use(s, x * lanes);
  }

  // What token t takes of token s: e^{c_t - c_s} w_s, and g_t of itself.
  Vec weight(int64_t t, int64_t s, Vec decay) const {
    const Vec x = decay * Vec::load(w + s);
    return t - s < W ? fma(Vec::of(g[t]), Vec::load(own + W * (t - s)), x) : x;
  }
};

// A chunk's queries or keys or values: T tokens of R rows of `size` elements, in rows of `width` floats.
static void read_rows(const Rows& from, int64_t t0, int64_t T, int64_t first, int64_t R, int64_t size, int64_t width,
                      float* to) {
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t r = 0; r < R; ++r, to += width) {
      from.read(t0 + t, (first * R + r) * size, static_cast<int>(size), static_cast<int>(width), to);
    }
  }
}

static void write_rows(const Rows& to, int64_t t0, int64_t T, int64_t first, int64_t R, int64_t size, int64_t width,
                       const float* from) {
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t r = 0; r < R; ++r, from += width) {
      to.write(t0 + t, (first * R + r) * size, static_cast<int>(size), from);
    }
  }
}

// Rows of `width` floats, R a token, times a factor of the token.
static void scale_rows(const float* from, const float* factor, int64_t T, int64_t R, int64_t width, float* to) {
  for (int64_t t = 0; t < T; ++t) {
    const Vec by = Vec::of(factor[t]);
    for (int64_t i = 0; i < R * width; i += W, from += W, to += W) (Vec::load(from) * by).store(to);
  }
}

static void zero(float* p, int64_t floats) { __builtin_memset(p, 0, sizeof(float) * floats); }

// A line of one value a token as one of R equal values a token, zeros behind; the line itself if R is 1.
static const float* spread(const float* line, int64_t T, int64_t R, float* wide) {
  if (R == 1) return line;
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t r = 0; r < R; ++r) wide[t * R + r] = line[t];
  }
  zero(wide + T * R, whole_vectors(T * R) - T * R);
  return wide;
}

// A given state (P, N) with its rows filled up with zeros: (P, n).
static void fill_up(const float* state, int64_t P, int64_t N, float* to) {
  const int64_t n = whole_vectors(N);
  for (int64_t i = 0; i < P; ++i) {
    __builtin_memcpy(to + i * n, state + i * N, sizeof(float) * N);
    zero(to + i * n + N, n - N);
  }
}

// The given state (P, N) as (N, p), zeros if there is none; `turned` has room for (P, n).
static void load_state(const float* state, int64_t P, int64_t N, float* turned, float* h) {
  const int64_t n = whole_vectors(N), p = whole_vectors(P);
  if (!state) return zero(h, N * p);
  fill_up(state, P, N, turned);
  transpose(turned, n, P, N, h, p, p);
}

static void store_state(const float* h, int64_t P, int64_t N, float* turned, float* state) {
  const int64_t n = whole_vectors(N), p = whole_vectors(P);
  transpose(h, p, N, P, turned, n, n);
  for (int64_t i = 0; i < P; ++i) __builtin_memcpy(state + i * N, turned + i * n, sizeof(float) * N);
}

// What forward and backward both keep of a chunk. Small letters are sizes in whole vectors.
struct SsdChunk {
  int64_t Q, rows, n, p, l;         // tokens and rows at most; states, channels and rows
  Carver carver;
  Decays decays;
  float *q, *k, *v, *k_turned, *scores, *mixed;  // (rows, n) twice, (rows, p), (N, l), (rows, l) twice
  float *scaled, *line, *wide, *turned;          // (rows, n or p), (l) twice, (P, n)

  SsdChunk(const Ssd& s, float* memory)
      : Q(ssd_tokens(s.L, s.R)),
        rows(Q * s.R),
        n(whole_vectors(s.N)),
        p(whole_vectors(s.P)),
        l(whole_vectors(rows)),
        carver{memory},
        decays(carver, Q),
        q(carver.take(rows * n)),
        k(carver.take(rows * n)),
        v(carver.take(rows * p)),
        k_turned(carver.take(s.N * l)),
        scores(carver.take(rows * l)),
        mixed(carver.take(rows * l)),
        scaled(carver.take(rows * (n > p ? n : p))),
        line(carver.take(l)),
        wide(carver.take(l)),
        turned(carver.take(s.P * n)) {}

  // How far the products read a row that sees `seen` rows: as far as the other rows of its tile see.
  int64_t read_until(int64_t seen, int64_t R) const { return least(l, whole_vectors(seen + kTileRows - 1 + R)); }

  // The group's queries, keys and scores q.k of T tokens from t0 on.
  void load(const Ssd& s, const Rows& q_rows, const Rows& k_rows, int64_t group, int64_t t0, int64_t T) {
    read_rows(q_rows, t0, T, group, s.R, s.N, n, q);
    read_rows(k_rows, t0, T, group, s.R, s.N, n, k);
    transpose(k, n, T * s.R, s.N, k_turned, l, l);
    product(Part::below, s.R, T * s.R, s.N, l, {q, n, 1}, k_turned, l, scores, l, false);
  }
};

struct SsdForwardMemory : SsdChunk {
  float *h, *y;  // (heads, N, p), (rows, p)

  SsdForwardMemory(const SsdForward& s, float* memory)
      : SsdChunk(s, memory), h(carver.take(ssd_heads(s.B, s.G, s.H) * s.N * p)), y(carver.take(rows * p)) {}
};

// mixed: what each row takes of the rows it sees. ahead(t) fetches what will be needed next.
template <class Ahead>
static void mix(const Ssd& s, SsdForwardMemory& m, int64_t T, const Exp2& exp2, Ahead ahead) {
  const Decays& d = m.decays;
  for (int64_t t = 0; t < T; ++t) {
    ahead(t);
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
    const int64_t t0 = c * m.Q, T = least(m.Q, s.L - t0), rows = T * s.R;
    const bool carried = c > 0 || s.initial, last = c + 1 == count;
    m.load(s, q, k, item.group, t0, T);
    for (int64_t j = 0; j < item.heads; ++j) {
      const int64_t head = item.first + j;
      float* h = m.h + j * size;
      if (s.states && c > 0) {
        float* state = s.states + ((item.b * (count - 1) + c - 1) * s.H + head) * saved;
        transpose(h, m.p, s.N, s.P, state, padded(s.N), padded(s.N));
      }
      m.decays.load(s, item.b, head, t0, T, exp2);
      read_rows(v, t0, T, head, s.R, s.P, m.p, m.v);
      const int64_t size_v = s.R * s.P;
      mix(s, m, T, exp2, [&](int64_t t) {
        y.prefetch(t0 + t, head * size_v, size_v, true);
        if (j + 1 < item.heads) v.prefetch(t0 + t, (head + 1) * size_v, size_v, false);
      });
      if (carried) {
        scale_rows(m.q, m.decays.from_start, T, s.R, m.n, m.scaled);
        product(Part::all, s.R, rows, s.N, m.p, {m.scaled, m.n, 1}, h, m.p, m.y, m.p, false);
      }
      product(Part::earlier, s.R, rows, rows, m.p, {m.mixed, m.l, 1}, m.v, m.p, m.y, m.p, carried);
      write_rows(y, t0, T, head, s.R, s.P, m.p, m.y);
      if (last && !s.final) continue;
      for (int64_t t = 0; t < T; ++t) m.line[t] = m.decays.to_end[t] * m.decays.w[t];
      scale_rows(m.k, m.line, T, s.R, m.n, m.scaled);
      const Vec whole = Vec::of(m.decays.whole);
      for (int64_t i = 0; i < size; i += W) (Vec::load(h + i) * whole).store(h + i);
      product(Part::all, s.R, s.N, rows, m.p, {m.scaled, 1, m.n}, m.v, m.p, h, m.p, true);
      if (last) store_state(h, s.P, s.N, m.turned, s.final + (item.b * s.H + head) * s.P * s.N);
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
