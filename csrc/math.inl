// Elementary functions on Vec: exp2, exp, log, softplus, sigmoid.

// 2^x = 2^n 2^f with n the integer nearest to x; f = x - n lies in [-1/2, 1/2], where this minimax polynomial has a relative error of 9.2e-8. Its constant term is exactly 1: with a free
// one exp2(0) != 1, and that bias, alike in every factor of the recurrence, makes the gradient of A five
// times worse.
struct Exp2 {
  static constexpr float range = 126.0f;  // of |x| without clamping
  Vec low = Vec::of(-126.0f), high = Vec::of(128.0f), magic = opaque(Vec::of(12582912.0f));
  Vec c5 = opaque(Vec::of(1.326472715e-03f)), c4 = opaque(Vec::of(9.671512643e-03f));
  Vec c3 = opaque(Vec::of(5.550733743e-02f)), c2 = opaque(Vec::of(2.402224209e-01f));
  Vec c1 = opaque(Vec::of(6.931469776e-01f)), c0 = opaque(Vec::of(1.0f));

  // M vectors stage by stage, so that no stage waits for the one before it. CLAMP limits x to [-126, 128],
  // letting NaN through; without it x must be within.
  template <int M, bool CLAMP>
  inline void apply(Vec* x) const {
    Vec n[M], p[M];
    if constexpr (CLAMP) {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) x[i] = min(high, max(low, x[i]));
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = nearest(x[i], magic, n[i]);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) x[i] = x[i] - p[i];
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(x[i], c5, c4);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], x[i], c3);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], x[i], c2);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], x[i], c1);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], x[i], c0);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) x[i] = scale(p[i], n[i]);
  }

  Vec operator()(Vec x) const {
    apply<1, false>(&x);
    return x;
  }
};

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

// e^x = 2^n e^r with x = n ln2 + r, ln2 in two parts (Cody and Waite): accurate for large |x| too.
static inline Vec exp(Vec x, const Exp2& exp2) {
  x = min(Vec::of(88.0f), max(Vec::of(-87.3f), x));
  Vec n, k = nearest(x * Vec::of(kLog2E), exp2.magic, n);
  Vec r = fma(k, Vec::of(-0.693359375f), x);
  r = fma(k, Vec::of(2.12194440e-4f), r);
  return scale(exp2(r * Vec::of(kLog2E)), n);
}

// log(x) for positive normal x; the polynomial is that of Cephes logf.
static inline Vec log(Vec x) {
  Vec e, f = split(x, e) - Vec::of(1.0f);
  constexpr float c[] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                         -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  Vec p = Vec::of(7.0376836292e-2f);
  for (int i = 0; i < 8; ++i) p = fma(p, f, Vec::of(c[i]));
  Vec square = f * f;
  Vec y = fma(Vec::of(-0.5f), square, p * f * square) + f;
  return fma(e, Vec::of(kLn2), y);
}

static inline Vec sigmoid(Vec x, const Exp2& exp2) {
  Vec one = Vec::of(1.0f);
  return one / (one + exp(Vec::of(0.0f) - x, exp2));
}

// max(x, 0) + log1p(e), e = exp(-|x|); log1p(e) = log(w) + (e - (w - 1)) / w with w = 1 + e rounded. Its slope
// sigmoid(x) comes with it: 1 / w or e / w. (1 - exp(-softplus) would lose all digits where both are small.)
static inline Vec softplus(Vec x, Vec& slope, const Exp2& exp2) {
  Vec one = Vec::of(1.0f);
  Vec e = exp(Vec::of(0.0f) - abs(x), exp2);
  Vec w = one + e, inverse = one / w;
  slope = where_negative(x, e, one) * inverse;
  return max(Vec::of(0.0f), x) + fma(e - (w - one), inverse, log(w));
}
