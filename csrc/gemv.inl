// A weight matrix times a few vectors: what a step of every mixer mostly is.
//
//   y[b][o] = bias[o] + sum_k weight[o][k] x[b][k]
//
// The weights are read where training left them, a row for each output. The lanes of a vector run along a row, so that
// every weight is read once for several of the vectors x, and with one vector nothing but reading the weights takes
// time. An output is one sum in one order, whatever the batch and the number of threads.

// The first n elements and zeros behind them, or all.
static inline Vec load_some(const float* p, int64_t n) {
  return n >= W ? Vec::load(p) : Vec::load_first(p, static_cast<int>(n));
}

static inline void store_some(Vec x, float* p, int64_t n) {
  n >= W ? x.store(p) : x.store_first(p, static_cast<int>(n));
}

// A matrix of weights, `rows` by `columns`, contiguous.
struct Weights {
  const float* data;
  int64_t rows, columns;
  const float* bias = nullptr;
};

// Vectors x that share one reading of the weights; their sums, with four rows of weights, stay in registers.
constexpr int kTogether = 3 * Vec::tile / 2;
// Rows whose sums advance together, with one vector x and with more.
constexpr int kRowsAlone = 8, kRowsShared = 4;
// Outputs of a work item, and the multiply-adds of a product from which on it is worth sharing out.
constexpr int64_t kOutputs = 64, kWorthSharing = int64_t{1} << 19;

// M rows of weights and NB vectors x: four partial sums of each product, those of vector x b from dots + b kDots on.
template <int M, int NB>
static void gemv_tile(int64_t K, const float* weight, const float* x, int64_t ldx, float* dots) {
  constexpr int padded_rows = M < Vec::fold ? Vec::fold : M;
  Vec sum[NB][padded_rows];
#pragma GCC unroll 8
  for (int b = 0; b < NB; ++b) {
#pragma GCC unroll 8
    for (int m = 0; m < padded_rows; ++m) sum[b][m] = Vec::of(0.0f);
  }
  int64_t k = 0;
  for (; k + W <= K; k += W) {
    Vec in[NB];
#pragma GCC unroll 8
    for (int b = 0; b < NB; ++b) in[b] = Vec::load(x + b * ldx + k);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec left = Vec::load(weight + m * K + k);
      if (NB == 1) __builtin_prefetch(weight + (m + M) * K + k);
#pragma GCC unroll 8
      for (int b = 0; b < NB; ++b) sum[b][m] = fma(left, in[b], sum[b][m]);
    }
  }
  if (k < K) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vec left = load_some(weight + m * K + k, K - k);
#pragma GCC unroll 8
      for (int b = 0; b < NB; ++b) sum[b][m] = fma(left, load_some(x + b * ldx + k, K - k), sum[b][m]);
    }
  }
#pragma GCC unroll 8
  for (int b = 0; b < NB; ++b) {
#pragma GCC unroll 8
    for (int m = 0; m < padded_rows; m += Vec::fold) store_partial(&sum[b][m], dots + b * kDots + 4 * m, true);
  }
}

// At most W outputs, n of them, of NB vectors x.
template <int NB>
static void gemv_block(const Weights& w, int64_t first, int64_t n, const float* x, int64_t ldx, float* y, int64_t ldy) {
  constexpr int M = NB == 1 ? kRowsAlone : kRowsShared;
  alignas(64) float dots[NB * kDots] = {};
  const float* weight = w.data + first * w.columns;
  int64_t m = 0;
  for (; m + M <= n; m += M) gemv_tile<M, NB>(w.columns, weight + m * w.columns, x, ldx, dots + 4 * m);
  for (; m < n; ++m) gemv_tile<1, NB>(w.columns, weight + m * w.columns, x, ldx, dots + 4 * m);
  const Vec bias = w.bias ? load_some(w.bias + first, n) : Vec::of(0.0f);
  for (int b = 0; b < NB; ++b) store_some(sum_partial(dots + b * kDots) + bias, y + b * ldy + first, n);
}

template <int NB>
static void gemv_batch(const Weights& w, int64_t first, int64_t n, int64_t B, const float* x, int64_t ldx, float* y,
                       int64_t ldy) {
  if constexpr (NB > 1) {
    if (B < NB) return gemv_batch<NB - 1>(w, first, n, B, x, ldx, y, ldy);
  }
  for (; B >= NB; B -= NB, x += NB * ldx, y += NB * ldy) gemv_block<NB>(w, first, n, x, ldx, y, ldy);
  if constexpr (NB > 1) {
    if (B) gemv_batch<NB - 1>(w, first, n, B, x, ldx, y, ldy);
  }
}

// Outputs [first, end) of B vectors x, whose rows lie ldx apart.
static void gemv(const Weights& w, int64_t first, int64_t end, int64_t B, const float* x, int64_t ldx, float* y,
                 int64_t ldy) {
  for (; first < end; first += W) gemv_batch<kTogether>(w, first, least(W, end - first), B, x, ldx, y, ldy);
}

// Calls body(item, slot) for every item, on several threads if the multiply-adds are worth it.
template <class Body>
static void share(int threads, int64_t items, int64_t work, Body body) {
  parallel_for(
      work < kWorthSharing ? 1 : threads, items,
      [](void* p, int64_t item, int slot) {
        FlushDenormals guard;
        (*static_cast<Body*>(p))(item, slot);
      },
      &body);
}

// All outputs.
static void gemv(int threads, const Weights& w, int64_t B, const float* x, int64_t ldx, float* y, int64_t ldy) {
  share(threads, parts_of(w.rows, kOutputs), B * w.rows * w.columns, [&](int64_t item, int) {
    gemv(w, item * kOutputs, least(w.rows, (item + 1) * kOutputs), B, x, ldx, y, ldy);
  });
}
