// Elementary functions on Vec: exp2, exp, softplus, sigmoid, silu, tanh, gelu, sine and cosine.

// 2^x = 2^n 2^f with n the integer nearest to x; f = x - n lies in [-1/2, 1/2], where this minimax polynomial
// has a relative error of 9.2e-8. Its constant term is fixed at 1. With a fitted one exp2(0) != 1, and that bias, the
// same in every factor of the recurrence, makes the error of A's gradient five times larger.
struct Exp2 {
  static constexpr float range = 126.0f;  // of |x| without clamping
  Vec low = Vec::of(-126.0f), high = Vec::of(128.0f), magic = opaque(Vec::of(12582912.0f));
  Vec c5 = opaque(Vec::of(1.326472715e-03f)), c4 = opaque(Vec::of(9.671512643e-03f));
  Vec c3 = opaque(Vec::of(5.550733743e-02f)), c2 = opaque(Vec::of(2.402224209e-01f));
  Vec c1 = opaque(Vec::of(6.931469776e-01f)), c0 = opaque(Vec::of(1.0f));

  // x = 2^x for M vectors, which go through each stage together, so that no stage waits for the one before it. CLAMP
  // limits x to [-126, 128] and lets NaN through; without it x must lie in that range.
  template <int M, bool CLAMP>
  inline void apply(Vec* x) const {
    Vec n[M];
    if constexpr (CLAMP) {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) x[i] = min(high, max(low, x[i]));
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) x[i] = x[i] - nearest(x[i], magic, n[i]);
    of_parts<M>(x, n);
  }

  // out[i] = 2^(x rates[i]), for M vectors of rates, kPad floats apart.
  template <int M, bool CLAMP>
  inline void of_products(Vec x, const float* rates, Vec* out) const {
    if constexpr (CLAMP) {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) out[i] = x * Vec::load(rates + kPad * i);
      return apply<M, true>(out);
    }
    Vec n[M];
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) n[i] = fma(x, Vec::load(rates + kPad * i), magic);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) out[i] = fms(x, Vec::load(rates + kPad * i), n[i] - magic);
    of_parts<M>(out, n);
  }

  Vec operator()(Vec x) const {
    apply<1, false>(&x);
    return x;
  }

  // f = 2^n 2^f, n as nearest() leaves it.
  template <int M>
  inline void of_parts(Vec* f, const Vec* n) const {
    Vec p[M];
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(f[i], c5, c4);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], f[i], c3);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], f[i], c2);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], f[i], c1);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) p[i] = fma(p[i], f[i], c0);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) f[i] = scale(p[i], n[i]);
  }
};

constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

// e^x = 2^n e^r with x = n ln2 + r, ln2 in two parts (Cody and Waite): accurate for large |x| too.
static inline Vec exp(Vec x, const Exp2& exp2) {
  x = min(Vec::of(88.0f), max(Vec::of(-87.3f), x));
  const Vec n = fma(x, Vec::of(kLog2E), exp2.magic), k = n - exp2.magic;
  Vec r = fma(k, Vec::of(-0.693359375f), x);
  r = fma(k, Vec::of(2.12194440e-4f), r) * Vec::of(kLog2E);
  exp2.of_parts<1>(&r, &n);
  return r;
}

static inline Vec sigmoid(Vec x, const Exp2& exp2) { return inverse(Vec::of(1.0f) + exp(Vec::of(0.0f) - x, exp2)); }

// max(x, 0) + log1p(e), e = exp(-|x|); log1p(e) = 2 artanh(s), s = e / (2 + e) <= 1/3, with a minimax polynomial
// in s^2 of relative error 4.6e-9. Its slope sigmoid(x), 1 / (1 + e) or e / (1 + e), shares the division.
// (1 - exp(-softplus) would lose all digits where both are small.)
static inline Vec softplus(Vec x, Vec& slope, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f), e = exp(Vec::of(0.0f) - abs(x), exp2), w = one + e, v = one + w;
  const Vec shared = inverse(w * v), s = e * w * shared, square = s * s, twice = s + s;
  slope = where_negative(x, e, one) * v * shared;
  Vec p = Vec::of(1.401222964e-01f);
  p = fma(p, square, Vec::of(1.399957049e-01f));
  p = fma(p, square, Vec::of(2.001084953e-01f));
  p = fma(p, square, Vec::of(3.333320657e-01f));
  return max(Vec::of(0.0f), x) + fma(twice * square, p, twice);
}

static inline Vec silu(Vec x, const Exp2& exp2) { return x * sigmoid(x, exp2); }

// (1 - e) / (1 + e), e = exp(-2 |x|): its absolute error is that of one rounding.
static inline Vec tanh(Vec x, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f), e = exp(Vec::of(-2.0f) * abs(x), exp2), size = (one - e) / (one + e);
  return where_negative(x, Vec::of(0.0f) - size, size);
}

// x Phi(x). The normal tail beyond |x| is exp(-x^2 / 2) t p(t), t = 1 / (1 + 0.45 |x| / sqrt 2), with a minimax
// polynomial p of relative error 3.6e-7 [the form is that of Abramowitz and Stegun 7.1.26].
static inline Vec gelu(Vec x, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f), size = abs(x), t = one / fma(size, Vec::of(0.318198052f), one);
  Vec p = Vec::of(3.463532576e-02f);
  p = fma(p, t, Vec::of(-1.252092329e-01f));
  p = fma(p, t, Vec::of(1.132706179e-01f));
  p = fma(p, t, Vec::of(1.191541148e-02f));
  p = fma(p, t, Vec::of(9.870936211e-02f));
  p = fma(p, t, Vec::of(1.127077230e-01f));
  p = fma(p, t, Vec::of(1.270300727e-01f));
  p = fma(p, t, Vec::of(1.269409019e-01f));
  const Vec tail = exp(Vec::of(-0.5f) * size * size, exp2) * t * p;
  return x * where_negative(x, tail, one - tail);
}

// Of angles in [-pi/2, 5 pi/2]. r = x - n pi, n the nearest of 0, 1 and 2, lies in [-pi/2, pi/2], where minimax
// polynomials have errors of 6e-9 and 3e-10; the sign, -1 for n = 1, is 1 - 2 n (2 - n).
static inline void sine_cosine(Vec x, Vec& sine, Vec& cosine, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f), two = Vec::of(2.0f);
  Vec turns, n = nearest(x * Vec::of(0.318309886f), exp2.magic, turns);
  Vec r = fma(n, Vec::of(-3.140625f), x);  // pi in two parts, of which the first times n is exact
  r = fma(n, Vec::of(-9.67653590e-4f), r);
  const Vec sign = one - two * n * (two - n), square = r * r;
  Vec p = Vec::of(2.605749590e-06f), q = Vec::of(-2.607680754e-07f);
  p = fma(p, square, Vec::of(-1.980958960e-04f));
  p = fma(p, square, Vec::of(8.333066076e-03f));
  p = fma(p, square, Vec::of(-1.666665954e-01f));
  q = fma(q, square, Vec::of(2.476187011e-05f));
  q = fma(q, square, Vec::of(-1.388840321e-03f));
  q = fma(q, square, Vec::of(4.166664071e-02f));
  q = fma(q, square, Vec::of(-4.999999955e-01f));
  sine = sign * fma(p * square, r, r);
  cosine = sign * fma(q, square, one);
}
