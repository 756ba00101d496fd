// A weight matrix times a few vectors: what a step of every mixer mostly is.
//
//   y[b][o] = bias[o] + sum_k weight[o][k] x[b][k]
//
// The weights are read where training left them, a row for each output. The lanes of a vector run along a row, and every
// weight that was read serves several of the vectors x. With one vector, reading the weights is all that takes time. An
// output is one sum, whose order does not depend on the number of threads.

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
// Four partial sums for each of W rows. A row without companions stores their sums too, as zeros.
constexpr int kDots = 4 * (W + Vec::fold);

// Rows whose sums advance together, with one vector x and with more.
constexpr int kRowsAlone = 8, kRowsShared = 4;
// The processor fetches ahead what is read in order, but not across pages of memory. Of rows shorter than a page it is
// best to read one after the other, with one vector x in so many sums; longer ones are each read ahead.
constexpr int kSums = 8;
constexpr int64_t kPage = 1024;
// Outputs of a work item, and the multiply-adds of a product from which on it is worth sharing out.
constexpr int64_t kOutputs = 64, kWorthSharing = int64_t{1} << 19;

// M rows of weights and NB vectors x: four partial sums of each product, those of vector x b from dots + b kDots on.
// Meanwhile AHEAD fetches as many weights from `ahead` on, in their order in memory.
template <int M, int NB, bool AHEAD>
static void gemv_tile(int64_t K, const float* weight, const float* x, int64_t ldx, const float* ahead, float* dots) {
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
      if constexpr (AHEAD) __builtin_prefetch(ahead + k * M + m * W);
      const Vec left = Vec::load(weight + m * K + k);
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

// One row, at least kSums vectors long, and one vector x.
static Vec gemv_row(int64_t K, const float* weight, const float* x) {
  Vec sum[kSums];
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) sum[i] = Vec::of(0.0f);
  int64_t k = 0;
  for (; k + kSums * W <= K; k += kSums * W) {
#pragma GCC unroll 8
    for (int i = 0; i < kSums; ++i) {
      sum[i] = fma(Vec::load_streamed(weight + k + i * W), Vec::load(x + k + i * W), sum[i]);
    }
  }
  for (; k < K; k += W) sum[0] = fma(load_some(weight + k, K - k), load_some(x + k, K - k), sum[0]);
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

// Four partial sums for each of n rows from `weight` on, in rows of kDots for each of NB vectors x.
template <int NB, bool AHEAD>
static void gemv_dots(int64_t K, const float* weight, int64_t n, const float* x, int64_t ldx, float* dots) {
  constexpr int M = NB == 1 ? kRowsAlone : kRowsShared;
  int64_t m = 0;
  if constexpr (NB == 1) {
    if (K >= kSums * W && K <= kPage) {
      for (; m < n; m += Vec::fold) {
        Vec sum[Vec::fold];
        for (int i = 0; i < Vec::fold; ++i) sum[i] = gemv_row(K, weight + least(m + i, n - 1) * K, x);
        store_partial(sum, dots + 4 * m, true);
      }
      return;
    }
  }
  const float* ahead = weight + W * K;
  for (; m + M <= n; m += M) gemv_tile<M, NB, AHEAD>(K, weight + m * K, x, ldx, ahead + m * K, dots + 4 * m);
  for (; m < n; ++m) gemv_tile<1, NB, false>(K, weight + m * K, x, ldx, nullptr, dots + 4 * m);
}

// At most W outputs, n of them, of NB vectors x.
template <int NB>
static void gemv_block(const Weights& w, int64_t first, int64_t n, const float* x, int64_t ldx, bool ahead, float* y,
                       int64_t ldy) {
  alignas(64) float dots[NB * kDots] = {};
  const float* weight = w.data + first * w.columns;
  if (ahead) {
    gemv_dots<NB, true>(w.columns, weight, n, x, ldx, dots);
  } else {
    gemv_dots<NB, false>(w.columns, weight, n, x, ldx, dots);
  }
  const Vec bias = w.bias ? load_some(w.bias + first, n) : Vec::of(0.0f);
  for (int b = 0; b < NB; ++b) store_some(sum_partial(dots + b * kDots) + bias, y + b * ldy + first, n);
}

// The first of the vectors x fetch the weights of the block to come.
template <int NB>
static void gemv_batch(const Weights& w, int64_t first, int64_t n, int64_t B, const float* x, int64_t ldx, bool ahead,
                       float* y, int64_t ldy) {
  for (; B >= NB; B -= NB, x += NB * ldx, y += NB * ldy, ahead = false) {
    gemv_block<NB>(w, first, n, x, ldx, ahead, y, ldy);
  }
  if constexpr (NB > 1) {
    if (B) gemv_batch<NB - 1>(w, first, n, B, x, ldx, ahead, y, ldy);
  }
}

// Outputs [first, end) of B vectors x, whose rows lie ldx apart.
static void gemv(const Weights& w, int64_t first, int64_t end, int64_t B, const float* x, int64_t ldx, float* y,
                 int64_t ldy) {
  const bool ahead = w.columns < kPage;
  for (; first < end; first += W) gemv_batch<kTogether>(w, first, least(W, end - first), B, x, ldx, ahead, y, ldy);
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
