// Products of small matrices in scratch memory, tile by tile in registers, and their transposition.

constexpr int64_t whole_vectors(int64_t n) { return parts_of(n, W) * W; }

// The left factor: element (i, k) lies at data[i * row + k * column].
struct Left {
  const float* data;
  int64_t row, column;
};

// Which part of a product is wanted. Rows and columns are tokens in time, R of them a token.
enum class Part {
  all,
  below,     // of the result only what lies at the row's token or earlier ones: scores
  earlier,   // the left factor is zero at tokens after the row's
  later,     // the left factor is zero at tokens before the row's
};

constexpr int kTileRows = 6;

// c = a b, or c += a b: M rows, NV vectors a row.
template <int M, int NV>
static void tile(int64_t K, Left a, const float* b, int64_t ldb, float* c, int64_t ldc, bool add) {
  Vec sum[M][NV];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[i][j] = add ? Vec::load(c + i * ldc + W * j) : Vec::of(0.0f);
  }
  const float* p = a.data;
  for (int64_t k = 0; k < K; ++k, p += a.column, b += ldb) {
    Vec right[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) right[j] = Vec::load(b + W * j);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const Vec left = Vec::of(p[i * a.row]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[i][j].store(c + i * ldc + W * j);
  }
}

template <int NV>
static void tile_of(int64_t rows, int64_t K, Left a, const float* b, int64_t ldb, float* c, int64_t ldc, bool add) {
  switch (rows) {
    case 1: return tile<1, NV>(K, a, b, ldb, c, ldc, add);
    case 2: return tile<2, NV>(K, a, b, ldb, c, ldc, add);
    case 3: return tile<3, NV>(K, a, b, ldb, c, ldc, add);
    case 4: return tile<4, NV>(K, a, b, ldb, c, ldc, add);
    case 5: return tile<5, NV>(K, a, b, ldb, c, ldc, add);
    default: return tile<6, NV>(K, a, b, ldb, c, ldc, add);
  }
}

// c = a b, or c += a b, of which `part` is wanted; columns, the rows' stride of b and c, are whole vectors.
static void product(Part part, int64_t R, int64_t rows, int64_t K, int64_t columns, Left a, const float* b, int64_t ldb,
                    float* c, int64_t ldc, bool add) {
  for (int64_t j = 0; j < columns; j += Vec::tile * W) {
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const int64_t m = least(kTileRows, rows - i), last = ((i + m - 1) / R + 1) * R;
      int64_t begin = 0, end = K, width = columns;
      if (part == Part::below) width = least(columns, whole_vectors(last));
      if (part == Part::earlier) end = least(K, last);
      if (part == Part::later) begin = i / R * R;
      const Left from{a.data + i * a.row + begin * a.column, a.row, a.column};
      const float* right = b + begin * ldb + j;
      float* out = c + i * ldc + j;
      switch (least(Vec::tile, (width - j) / W)) {
        case 4: tile_of<Vec::tile < 4 ? 1 : 4>(m, end - begin, from, right, ldb, out, ldc, add); break;
        case 3: tile_of<Vec::tile < 3 ? 1 : 3>(m, end - begin, from, right, ldb, out, ldc, add); break;
        case 2: tile_of<2>(m, end - begin, from, right, ldb, out, ldc, add); break;
        case 1: tile_of<1>(m, end - begin, from, right, ldb, out, ldc, add); break;
        default: break;  // nothing of this tile lies below
      }
    }
  }
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
