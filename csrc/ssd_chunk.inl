// What forward and backward of the state space dual form share: work items, a chunk's decays, its rows and its products.

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

// A chunk's rows of one group or head in a tensor: T tokens from t0 on, each R rows of `size` elements.
struct ChunkRows {
  const Rows* rows;
  int64_t t0, T, first, R, size;

  // Rows of `width` floats, zeros behind what there is.
  void read(int64_t width, float* to) const {
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t r = 0; r < R; ++r, to += width) {
        rows->read(t0 + t, (first * R + r) * size, static_cast<int>(size), static_cast<int>(width), to);
      }
    }
  }

  void write(int64_t width, const float* from) const {
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t r = 0; r < R; ++r, from += width) {
        rows->write(t0 + t, (first * R + r) * size, static_cast<int>(size), from);
      }
    }
  }

  // Prefetches rows [row, row + count) of the next group or head.
  void fetch_next(int64_t row, int64_t count) const { fetch(1, row, count, false); }
  // Prefetches rows that will be written.
  void fetch_to_write(int64_t row, int64_t count) const { fetch(0, row, count, true); }

 private:
  void fetch(int64_t further, int64_t row, int64_t count, bool write) const {
    for (; count > 0; ++row, --count) {
      const int64_t t = R == 1 ? row : row / R;
      rows->prefetch(t0 + t, ((first + further) * R + row - t * R) * size, size, write);
    }
  }
};

// Where a head's result in a chunk goes, row by row: into the tensor if that is float32 and its rows are whole vectors,
// else into scratch memory, which finish() writes.
struct Out {
  ChunkRows rows;
  int64_t width;
  float *scratch, **at;  // (T R, width); an address for each row
  bool direct;

  Out(const ChunkRows& rows, int64_t width, float* scratch, float** at)
      : rows(rows), width(width), scratch(scratch), at(at), direct(!rows.rows->bf16 && rows.size == width) {
    for (int64_t t = 0; t < rows.T; ++t) {
      for (int64_t r = 0; r < rows.R; ++r) {
        const int64_t row = t * rows.R + r;
        at[row] = scratch + row * width;
        if (direct) at[row] = const_cast<float*>(rows.rows->floats(rows.t0 + t)) + (rows.first * rows.R + r) * width;
      }
    }
  }

  void finish() const {
    if (!direct) rows.write(width, scratch);
  }
};

// Rows of `width` floats, R a token, times a factor of the token.
static void scale_rows(const float* from, const float* factor, int64_t T, int64_t R, int64_t width, float* to) {
  for (int64_t t = 0; t < T; ++t) {
    const Vec by = Vec::of(factor[t]);
    for (int64_t i = 0; i < R * width; i += W, from += W, to += W) (Vec::load(from) * by).store(to);
  }
}

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

// state <- decay state + a^T b: `size` rows of p floats, from `rows` rows of a, lda floats apart, and of b.
static void add_decayed(float decay, int64_t size, int64_t rows, int64_t p, const float* a, int64_t lda, const float* b,
                        float* state) {
  const Vec by = Vec::of(decay);
  for_tiles(size, p, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    Sums<M.value, NV.value> sums;
    float* to = state + i * p + j;
    sums.visit([&](int r, int v, Vec& x) { x = Vec::load(to + r * p + W * v) * by; });
    sums.add(rows, {a + i, 1, lda}, b + j, p);
    sums.visit([&](int r, int v, Vec x) { x.store(to + r * p + W * v); });
  });
}

// What forward and backward both keep of a chunk. Small letters are sizes in whole vectors.
struct SsdChunk {
  int64_t Q, rows, n, p, l;         // tokens and rows at most; states, channels and rows
  Carver carver;
  Decays decays;
  float *q, *k, *v, *k_turned, *scores, *mixed;  // (rows, n) twice, (rows, p), (N, l), (rows, l) twice
  float *scaled, *line, *wide, *turned;          // (rows, n), (l) twice, (P, n)
  float** to;                                    // (rows): see Out

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
        scaled(carver.take(rows * n)),
        line(carver.take(l)),
        wide(carver.take(l)),
        turned(carver.take(s.P * n)),
        to(reinterpret_cast<float**>(carver.take(rows * sizeof(float*) / sizeof(float)))) {}

  // How far the products read a row that sees `seen` rows: as far as the other rows of its tile see.
  int64_t read_until(int64_t seen, int64_t R) const { return least(l, whole_vectors(seen + kTileRows - 1 + R)); }

  // The group's queries, keys and scores q.k.
  void load(const Ssd& s, const ChunkRows& q_rows, const ChunkRows& k_rows) {
    q_rows.read(n, q);
    k_rows.read(n, k);
    const int64_t count = q_rows.T * s.R;
    transpose(k, n, count, s.N, k_turned, l, l);
    seen_product(s, count, s.N, q, n, k_turned, scores, [](int64_t, int64_t) {});
  }

  // Of a b^T, rows of K floats, what each row sees: the rows of its own token and of earlier ones. b comes transposed,
  // (K, l). Calls ahead(row, count) for some rows after the other.
  template <class Fetch>
  void seen_product(const Ssd& s, int64_t count, int64_t K, const float* a, int64_t lda, const float* b, float* to,
                    Fetch ahead) const {
    const auto until = [&](int64_t i, int64_t M) { return whole_vectors(s.seen(i + M - 1)); };
    for_tiles(count, l, until, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
      if (j == 0) ahead(i, M.value);
      Sums<M.value, NV.value> sums{};
      sums.add(K, {a + i * lda, lda, 1}, b + j, l);
      sums.visit([&](int r, int v, Vec x) { x.store(to + (i + r) * l + j + W * v); });
    });
  }
};

