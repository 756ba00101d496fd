// Products of small matrices in scratch memory, tile by tile in registers, and their transposition.

constexpr int64_t whole_vectors(int64_t n) { return parts_of(n, W) * W; }

// The left factor: element (i, k) lies at data[i * row + k * column].
struct Left {
  const float* data;
  int64_t row, column;
};

constexpr int kTileRows = 6;

// A block of a result in registers: M rows of NV vectors.
template <int M, int NV>
struct Sums {
  static constexpr int rows = M;
  Vec at[M][NV];

  // Calls each(row, vector, sum).
  template <class Each>
  __attribute__((always_inline)) inline void visit(Each each) {
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) each(i, j, at[i][j]);
    }
  }

  // Adds a b over K.
  __attribute__((always_inline)) inline void add(int64_t K, Left a, const float* b, int64_t ldb) {
    const float* p = a.data;
    for (int64_t k = 0; k < K; ++k, p += a.column, b += ldb) {
      Vec right[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) right[j] = Vec::load(b + W * j);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) {
        const Vec left = Vec::of(p[i * a.row]);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) at[i][j] = fma(left, right[j], at[i][j]);
      }
    }
  }
};

// Calls tile(Size<M>, Size<NV>, i, j) for M rows from i on and NV vectors from column j on, which are a result of
// `rows` rows and `columns` whole vectors; of a block of rows only the vectors below until(i, M) are wanted. Few heights,
// since a compiler takes its time over each.
template <class Until, class Tile>
static inline void for_tiles(int64_t rows, int64_t columns, Until until, Tile tile) {
  for (int64_t j = 0; j < columns; j += Vec::tile * W) {
    for (int64_t i = 0, m; i < rows; i += m) {
      m = rows - i;
      m = m >= kTileRows ? kTileRows : m >= 4 ? 4 : m >= 2 ? 2 : 1;
      const int64_t vectors = least(Vec::tile, (least(columns, until(i, m)) - j) / W);
      auto of_width = [&](auto NV) __attribute__((always_inline)) {
        switch (m) {
          case 1: return tile(Size<1>{}, NV, i, j);
          case 2: return tile(Size<2>{}, NV, i, j);
          case 4: return tile(Size<4>{}, NV, i, j);
          default: return tile(Size<kTileRows>{}, NV, i, j);
        }
      };
      if constexpr (Vec::tile == 4) {
        if (vectors == 4) of_width(Size<4>{});
        if (vectors == 3) of_width(Size<3>{});
      }
      if (vectors == 2) of_width(Size<2>{});
      if (vectors == 1) of_width(Size<1>{});
    }
  }
}

struct Everything {
  int64_t operator()(int64_t, int64_t) const { return INT64_MAX; }
};

// c = a b; columns, the rows' stride of b and c, are whole vectors.
static void product(int64_t rows, int64_t K, int64_t columns, Left a, const float* b, int64_t ldb, float* c,
                    int64_t ldc) {
  for_tiles(rows, columns, Everything{}, [&](auto M, auto NV, int64_t i, int64_t j) __attribute__((always_inline)) {
    Sums<M.value, NV.value> sums{};
    sums.add(K, {a.data + i * a.row, a.row, a.column}, b + j, ldb);
    sums.visit([&](int r, int v, Vec x) { x.store(c + (i + r) * ldc + j + W * v); });
  });
}

// to[j][i] = from[i][j] for j < columns; i runs to `width`, a number of whole vectors, with zeros from `rows` on.
static void transpose(const float* from, int64_t ldf, int64_t rows, int64_t columns, float* to, int64_t ldt,
                      int64_t width) {
  for (int64_t i = 0; i < width; i += W) {
    for (int64_t j = 0; j < columns; j += W) {
      Vec x[W];
      for (int64_t r = 0; r < W; ++r) x[r] = i + r < rows ? Vec::load(from + (i + r) * ldf + j) : Vec::of(0.0f);
      turn(x);
      const int64_t n = least(W, columns - j);
      for (int64_t r = 0; r < n; ++r) x[r].store(to + (j + r) * ldt + i);
    }
  }
}
