// What the passes around mixers and scans share: stretches of tokens, rows of any dtype, sums in a fixed order.

// A work item is so many tokens of one sample.
constexpr int64_t kStretchTokens = 64;

static int64_t stretches(int64_t B, int64_t L) { return B * parts_of(L, kStretchTokens); }

// Rows of a sequence as float32: in place, or read into a buffer.
struct Read {
  const Rows& rows;
  int64_t n;
  float* buffer;

  const float* operator()(int64_t t) const {
    if (!rows.bf16) return rows.floats(t);
    rows.read(t, 0, static_cast<int>(n), static_cast<int>(n), buffer);
    return buffer;
  }
};

// The row of a result: in place, or in a buffer that write() rounds.
struct Written {
  const Rows& rows;
  int64_t n;
  float* buffer;

  float* operator()(int64_t t) const { return rows.bf16 ? buffer : const_cast<float*>(rows.floats(t)); }
  void write(int64_t t) const {
    if (rows.bf16) rows.write(t, 0, static_cast<int>(n), buffer);
  }
};

static inline Vec some_or_one(const float* p, int64_t at, int64_t n) {
  return p ? load_some(p + at, n) : Vec::of(1.0f);
}

static inline void add_some(Vec x, float* p, int64_t n) { store_some(load_some(p, n) + x, p, n); }

// The tokens of a work item.
struct Stretch {
  int64_t b, first, end;

  Stretch(int64_t L, int64_t item) {
    const int64_t each = parts_of(L, kStretchTokens);
    b = item / each, first = item % each * kStretchTokens, end = least(L, first + kStretchTokens);
  }
};

static float sum_of_squares(const float* x, int64_t n) {
  Vec squares = Vec::of(0.0f);
  for (int64_t i = 0; i < n; i += W) {
    const Vec v = load_some(x + i, n - i);
    squares = fma(v, v, squares);
  }
  return sum_lanes(squares);
}

// to = the sum of `count` rows, `apart` floats from each other, in their order.
static void add_rows(const float* from, int64_t count, int64_t apart, int64_t n, float* to) {
  for (int64_t i = 0; i < n; i += W) {
    Vec sum = Vec::of(0.0f);
    for (int64_t k = 0; k < count; ++k) sum = sum + load_some(from + k * apart + i, n - i);
    store_some(sum, to + i, n - i);
  }
}
