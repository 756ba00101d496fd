// The step of Mamba-2 [Dao & Gu 2024, figure 6, right]: for each head, with dt = softplus(s + bias) and B and C its
// group's,
//
//   h = exp(-dt exp(A_log)) h + dt x B^T ;  y = h C + D x ;  out = out_proj(RMSNorm(y silu(z)))

static void mamba2_step(const Mamba2Step& s) {
  const int64_t P = s.E / s.H, convolved = s.E + 2 * s.G * s.N, rows = s.E + convolved + s.H, heads = padded(s.H);
  Scratch projected(s.B * rows), u(s.B * convolved), y(s.B * s.E), of_heads(s.B * 2 * heads), slots(s.threads * P);
  gemv(s.threads, {s.in_proj, rows, s.D}, s.B, s.x, s.D, projected.data(), rows);
  conv_step(s.threads, s.B, convolved, s.K, projected.data() + s.E, rows, s.inputs, s.conv_weight, s.conv_bias,
            u.data());
  FlushDenormals guard;
  const Exp2 exp2;
  for (int64_t b = 0; b < s.B; ++b) {
    const float* raw = projected.data() + b * rows + s.E + convolved;
    float *dt = of_heads.data() + b * 2 * heads, *kept = dt + heads;
    for (int64_t i = 0; i < s.H; i += W) {
      Vec slope, step = softplus(load_some(raw + i, s.H - i) + load_some(s.dt_bias + i, s.H - i), slope, exp2);
      step.store(dt + i);
      exp(Vec::of(0.0f) - step * exp(load_some(s.A_log + i, s.H - i), exp2), exp2).store(kept + i);
    }
  }
  share(s.threads, s.B * s.H, s.B * s.E * s.N * 4, [&](int64_t item, int slot) {
    const int64_t b = item / s.H, head = item % s.H, group = head / (s.H / s.G);
    const float *dt = of_heads.data() + b * 2 * heads, *kept = dt + heads;
    const float *read = u.data() + b * convolved, *x = read + head * P;
    const float *key = read + s.E + group * s.N, *query = key + s.G * s.N;
    float *state = s.state + item * P * s.N, *out = y.data() + b * s.E + head * P, *added = slots.data() + slot * P;
    for (int64_t p = 0; p < P; ++p) added[p] = dt[head] * x[p];
    add_to_head(state, P, s.N, kept[head], 1, added, key, 0);
    gemv({state, P, s.N}, 0, P, 1, query, 0, out, 0);
    for (int64_t p = 0; p < P; ++p) out[p] += s.skip[head] * x[p];
  });
  const int64_t size = s.E / s.G;
  for (int64_t b = 0; b < s.B; ++b) {
    float* row = y.data() + b * s.E;
    const float* z = projected.data() + b * rows;
    for (int64_t i = 0; i < s.E; i += W) {
      const Vec gate = silu(load_some(z + i, s.E - i), exp2);
      store_some(load_some(row + i, s.E - i) * gate, row + i, s.E - i);
    }
    for (int64_t i = 0; i < s.E; i += size) rms_norm(row + i, size, s.eps, s.norm + i, row + i);
  }
  gemv(s.threads, {s.out_proj, s.D, s.E}, s.B, y.data(), s.E, s.y, s.D);
}
