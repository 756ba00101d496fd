// The step of causal multi-head attention [Vaswani et al. 2017] over a cache of keys and values, whose heads are each
// shared by some heads of queries [Ainslie et al. 2023].
//
//   y = sum_t softmax_t(q . k_t / sqrt P) v_t   over the tokens kept and the token itself

// Turns channels i and i + P/2 of a query or key.
static void turn_halves(float* x, int64_t P, const float* cosines, const float* sines) {
  for (int64_t i = 0, j = P / 2; i < P / 2; ++i, ++j) {
    const float a = x[i], b = x[j];
    x[i] = a * cosines[i] - b * sines[i];
    x[j] = a * sines[i] + b * cosines[i];
  }
}

// x = exp(scale x) / sum, of n scores.
static void softmax(float* x, int64_t n, float scale_by, const Exp2& exp2) {
  float most = x[0];
  for (int64_t i = 1; i < n; ++i) most = x[i] > most ? x[i] : most;
  const Vec largest = Vec::of(most), factor = Vec::of(scale_by);
  Vec sum = Vec::of(0.0f);
  for (int64_t i = 0; i < n; i += W) {
    const Vec e = exp((load_some(x + i, n - i) - largest) * factor, exp2);
    store_some(e, x + i, n - i);
    sum = sum + (n - i < W ? load_some(x + i, n - i) : e);
  }
  const Vec inverse = Vec::of(1.0f / sum_lanes(sum));
  for (int64_t i = 0; i < n; i += W) store_some(load_some(x + i, n - i) * inverse, x + i, n - i);
}

// out = probs (M, T) v (T, P), whose rows lie ldp and P apart, and those of `out` P.
static void weighted_values(int64_t M, int64_t T, int64_t P, const float* probs, int64_t ldp, const float* v,
                            float* out) {
  const int64_t whole = P / W * W;
  if (whole) product(M, T, whole, {probs, ldp, 1}, v, P, out, P);
  if (whole == P) return;
  for (int64_t i = 0; i < M; ++i) {
    Vec sum = Vec::of(0.0f);
    for (int64_t t = 0; t < T; ++t) {
      sum = fma(Vec::of(probs[i * ldp + t]), load_some(v + t * P + whole, P - whole), sum);
    }
    store_some(sum, out + i * P + whole, P - whole);
  }
}

// The M queries that share one head of keys and values; `scores` has room for M (T + 1).
static void attention_head(const AttentionStep& s, int64_t M, int64_t P, const float* q, const float* k,
                           const float* v, float* keys, float* values, float* out, float* scores) {
  const int64_t all = s.T + 1;
  const Exp2 exp2;
  gemv({keys, s.T, P}, 0, s.T, M, q, P, scores, all);
  gemv({k, 1, P}, 0, 1, M, q, P, scores + s.T, all);
  for (int64_t i = 0; i < M; ++i) softmax(scores + i * all, all, 1.0f / __builtin_sqrtf(static_cast<float>(P)), exp2);
  weighted_values(M, s.T, P, scores, all, values, out);
  for (int64_t i = 0; i < M; ++i) {
    const Vec own = Vec::of(scores[i * all + s.T]);
    for (int64_t p = 0; p < P; p += W) {
      store_some(fma(own, load_some(v + p, P - p), load_some(out + i * P + p, P - p)), out + i * P + p, P - p);
    }
  }
  const int64_t place = s.slides ? s.T - 1 : s.T;
  if (place < 0) return;  // a window of the token alone
  if (s.slides) {
    __builtin_memmove(keys, keys + P, sizeof(float) * place * P);
    __builtin_memmove(values, values + P, sizeof(float) * place * P);
  }
  copy(k, static_cast<int>(P), keys + place * P);
  copy(v, static_cast<int>(P), values + place * P);
}

static void attention_step(const AttentionStep& s) {
  const int64_t P = s.E / s.H, M = s.H / s.G, rows = s.E + 2 * s.G * P, each = padded(M * (s.T + 1));
  Scratch qkv(s.B * rows), y(s.B * s.E), slots(s.threads * each);
  gemv(s.threads, {s.qkv, rows, s.D, s.qkv_bias}, s.B, s.x, s.D, qkv.data(), rows);
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t head = 0; head < s.H + s.G; ++head) {
      float* x = qkv.data() + b * rows + head * P;
      const float* norm = head < s.H ? s.q_norm : s.k_norm;
      if (norm) rms_norm(x, P, s.eps, norm, x);
      if (s.turns) turn_halves(x, P, s.turns, s.turns + P / 2);
    }
  }
  share(s.threads, s.B * s.G, s.B * s.H * P * s.T * 2, [&](int64_t item, int slot) {
    const int64_t b = item / s.G, head = item % s.G;
    const float *q = qkv.data() + b * rows + head * M * P, *k = qkv.data() + b * rows + s.E + head * P;
    float *keys = s.cache + item * s.capacity * P, *values = keys + s.B * s.G * s.capacity * P;
    attention_head(s, M, P, q, k, k + s.G * P, keys, values, y.data() + b * s.E + head * M * P,
                   slots.data() + slot * each);
  });
  gemv(s.threads, {s.out_proj, s.D, s.E, s.out_bias}, s.B, y.data(), s.E, s.y, s.D);
}
