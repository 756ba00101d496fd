// Moving rows between tensors (strided, fp32 or bf16, either direction of time) and fp32 tiles.

constexpr int W = Vec::width;

static inline float from_bf16(uint16_t x) {
  uint32_t bits = static_cast<uint32_t>(x) << 16;
  float r;
  __builtin_memcpy(&r, &bits, sizeof r);
  return r;
}

// Rounds to nearest, ties to even; NaN stays NaN.
static inline uint16_t to_bf16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(x != x ? 0x7fc0 : rounded);
}

// A call of memcpy takes longer than to copy a row.
static inline void copy(const float* from, int n, float* to) {
  int i = 0;
  for (; i + W <= n; i += W) Vec::load(from + i).store(to + i);
  if (i < n) Vec::load_first(from + i, n - i).store_first(to + i, n - i);
}

// The same, with zeros behind up to `width`.
static inline void copy_filled(const float* from, int n, int width, float* to) {
  int i = 0;
  for (; i + W <= n; i += W) Vec::load(from + i).store(to + i);
  if (i < n && i + W <= width) Vec::load_first(from + i, n - i).store(to + i), i += W;
  for (; i < n; ++i) to[i] = from[i];
  for (; i < width; ++i) to[i] = 0.0f;
}

// One sample of a View, walked in the order of the scan: row 0 is the last token when reversed.
struct Rows {
  char* base;
  int64_t step;
  bool bf16;

  Rows(const View& view, int64_t b, int64_t L, bool reverse)
      : base(static_cast<char*>(view.data)), step(reverse ? -view.row : view.row), bf16(view.bf16) {
    if (base) base += (bf16 ? 2 : 4) * (b * view.batch + (reverse ? (L - 1) * view.row : 0));
  }

  explicit operator bool() const { return base != nullptr; }
  const float* floats(int64_t t) const { return reinterpret_cast<const float*>(base) + t * step; }

  // Prefetches the cache line of an element that will be needed soon.
  void prefetch(int64_t t, int64_t first) const {
    if (base) __builtin_prefetch(base + (bf16 ? 2 : 4) * (t * step + first), 0, 2);
  }

  // The same for n elements.
  void prefetch(int64_t t, int64_t first, int64_t n, bool write) const {
    const int64_t bytes = bf16 ? 2 : 4;
    const char* p = base + bytes * (t * step + first);
    for (int64_t i = 0; i < n * bytes; i += 64) {
      write ? __builtin_prefetch(p + i, 1, 2) : __builtin_prefetch(p + i, 0, 2);
    }
  }

  // Reads n elements and fills with zeros up to `width`.
  void read(int64_t t, int64_t first, int n, int width, float* out) const {
    if (!bf16) return copy_filled(floats(t) + first, n, width, out);
    const uint16_t* p = reinterpret_cast<const uint16_t*>(base) + t * step + first;
    for (int i = 0; i < n; ++i) out[i] = from_bf16(p[i]);
    for (int i = n; i < width; ++i) out[i] = 0.0f;
  }

  void write(int64_t t, int64_t first, int n, const float* in) const {
    if (bf16) {
      uint16_t* p = reinterpret_cast<uint16_t*>(base) + t * step + first;
      for (int i = 0; i < n; ++i) p[i] = to_bf16(in[i]);
    } else {
      copy(in, n, const_cast<float*>(floats(t)) + first);
    }
  }

  // W channels from `first` on, of which n exist.
  Vec read_vec(int64_t t, int64_t first, int n) const {
    if (n == W && !bf16) return Vec::load(floats(t) + first);
    float lanes[W];
    read(t, first, n, W, lanes);
    return Vec::load(lanes);
  }

  void write_vec(int64_t t, int64_t first, int n, Vec v) const {
    if (n == W && !bf16) return v.store(const_cast<float*>(floats(t)) + first);
    float lanes[W];
    v.store(lanes);
    write(t, first, n, lanes);
  }
};

// Floats that a T takes in scratch memory, rounded up to whole cache lines.
template <class T>
constexpr int64_t floats_of() {
  return (sizeof(T) + 63) / 64 * 16;
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void zero(float* p, int64_t floats) { __builtin_memset(p, 0, sizeof(float) * floats); }
