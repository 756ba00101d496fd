// The step of Mamba-3 [Lahoti et al. 2026]: for each head, with R ranks r,
//
//   h = alpha (h + (1 - lam) dt sum_r v'_r k'_r^T) + lam dt sum_r v_r k_r^T ;  y_r = h q_r + D v_r
//   out = out_proj(sum_r o_r norm(y_r) silu(z_r))
//
// v' and k' are those of the token before; alpha = exp(dt A); k and q are normed, get the head's bias and are turned by
// the running angle; v_r, z_r and o_r are x, z and 1 with one rank, and scaled for each rank with more.

// Where the parts of a token lie in what in_proj gives.
struct Mamba3Parts {
  int64_t x, k, q, dt, a, trap, angle, all;

  explicit Mamba3Parts(const Mamba3Step& s) {
    x = s.E, k = 2 * s.E, q = k + s.G * s.R * s.N, dt = q + s.G * s.R * s.N;
    a = dt + s.H, trap = a + s.H, angle = trap + (s.trapezoid ? s.H : 0), all = angle + s.S;
  }
};

// What is the same for all channels of a head, a row of heads each; and the turn of each angle by a step of 1.
struct Mamba3Heads {
  float *dt, *alpha, *own, *earlier, *turn;

  Mamba3Heads(float* row, int64_t H)
      : dt(row), alpha(row + padded(H)), own(alpha + padded(H)), earlier(own + padded(H)), turn(earlier + padded(H)) {}

  static int64_t floats(const Mamba3Step& s) { return 4 * padded(s.H) + padded(s.S); }

  void load(const Mamba3Step& s, const Mamba3Parts& at, const float* token, const Exp2& exp2) const {
    const Vec zero = Vec::of(0.0f), one = Vec::of(1.0f);
    for (int64_t i = 0; i < s.H; i += W) {
      auto part = [&](int64_t first) { return load_some(token + first + i, s.H - i); };
      Vec slope, step = softplus(part(at.dt) + load_some(s.dt_bias + i, s.H - i), slope, exp2), raw = part(at.a);
      Vec rate = s.heavy_tail ? where_negative(raw, one / (one - min(zero, raw)), one + raw) : softplus(raw, slope, exp2);
      rate = min(Vec::of(s.slowest), zero - rate);
      const Vec share_own = s.trapezoid ? sigmoid(part(at.trap), exp2) : one;
      step.store(dt + i);
      exp(step * rate, exp2).store(alpha + i);
      (share_own * step).store(own + i);
      ((one - share_own) * step).store(earlier + i);
    }
    for (int64_t i = 0; i < s.S; i += W) {
      (Vec::of(3.14159265f) * tanh(load_some(token + at.angle + i, s.S - i), exp2)).store(turn + i);
    }
  }
};

// One head's scratch: rows of N for the keys before, the keys and the queries of each rank, and values of each.
struct Mamba3Scratch {
  float *keys, *queries, *cosines, *sines, *values, *y;
  int64_t width;

  Mamba3Scratch(float* memory, const Mamba3Step& s) : width(padded(s.N)) {
    keys = memory, queries = keys + 2 * s.R * width, cosines = queries + s.R * width;
    sines = cosines + padded(s.S), values = sines + padded(s.S), y = values + 2 * s.R * (s.E / s.H);
  }

  static int64_t floats(const Mamba3Step& s) {
    return padded(3 * s.R * padded(s.N) + 2 * padded(s.S) + 3 * s.R * (s.E / s.H));
  }

  void turn_to(const float* angle, int64_t S, const Exp2& exp2) {
    for (int64_t i = 0; i < S; i += W) {
      Vec sine, cosine;
      sine_cosine(load_some(angle + i, S - i), sine, cosine, exp2);
      sine.store(sines + i), cosine.store(cosines + i);
    }
  }

  // `to` gets R rows of x, N long, with the head's bias if there is one, turned.
  void turned(const Mamba3Step& s, const float* x, const float* bias, float* to) const {
    for (int64_t r = 0; r < s.R; ++r, x += s.N, to += width) {
      for (int64_t i = 0; i < s.N; ++i) to[i] = bias ? x[i] + bias[r * s.N + i] : x[i];
      for (int64_t i = 0; i < s.S; ++i) {
        const float a = to[2 * i], b = to[2 * i + 1];
        to[2 * i] = a * cosines[i] - b * sines[i];
        to[2 * i + 1] = a * sines[i] + b * cosines[i];
      }
    }
  }
};

// 2 pi times the whole turns less: in [0, 2 pi), as torch.remainder has it.
static inline float within_turn(float angle) {
  constexpr float whole = 6.28318531f;
  const float rest = __builtin_fmodf(angle, whole);
  return rest < 0.0f ? rest + whole : rest;
}

// `shared` holds the normed keys of the token, then the queries: (G, R, N) twice.
static void mamba3_head(const Mamba3Step& s, const Mamba3Parts& at, int64_t b, int64_t head, const float* token,
                        const Mamba3Heads& of, const float* shared, float* out, float* memory) {
  const int64_t P = s.E / s.H, R = s.R, group = head / (s.H / s.G), rows = R * s.N;
  const Exp2 exp2;
  Mamba3Scratch m(memory, s);
  float *angle = s.angle + (b * s.H + head) * s.S, *state = s.state + (b * s.H + head) * P * s.N;
  const float *B_bias = s.B_bias ? s.B_bias + head * rows : nullptr, *C_bias = s.C_bias ? s.C_bias + head * rows : nullptr;
  m.turn_to(angle, s.S, exp2);
  m.turned(s, s.k + (b * s.G + group) * rows, B_bias, m.keys);
  for (int64_t i = 0; i < s.S; ++i) angle[i] = within_turn(angle[i] + of.dt[head] * of.turn[i]);
  m.turn_to(angle, s.S, exp2);
  m.turned(s, shared + group * rows, B_bias, m.keys + R * m.width);
  m.turned(s, shared + (s.G + group) * rows, C_bias, m.queries);

  const float *x = token + at.x + head * P, *z = token + head * P, *before = s.v + b * s.E + head * P;
  const float* scale_x = s.mimo_x ? s.mimo_x + head * R * P : nullptr;
  const float last = of.alpha[head] * of.earlier[head], own = of.own[head];
  for (int64_t i = 0; i < R * P; ++i) {
    const float scale_by = scale_x ? scale_x[i] : 1.0f;
    m.values[i] = last * (before[i % P] * scale_by);
    m.values[R * P + i] = own * (x[i % P] * scale_by);
  }
  add_to_head(state, P, s.N, of.alpha[head], 2 * R, m.values, m.keys, m.width);
  gemv({state, P, s.N}, 0, P, R, m.queries, m.width, m.y, P);
  for (int64_t r = 0; r < R; ++r) {
    float* y = m.y + r * P;
    const int64_t rank = (head * R + r) * P;
    for (int64_t p = 0; p < P; ++p) y[p] += s.skip[head] * (scale_x ? x[p] * scale_x[r * P + p] : x[p]);
    if (s.norm) rms_norm(y, P, s.eps, s.norm + head * P, y);
    for (int64_t p = 0; p < P; p += W) {
      const int64_t n = P - p;
      Vec gate = load_some(z + p, n);
      if (s.mimo_z) gate = gate * load_some(s.mimo_z + rank + p, n);
      Vec gated = load_some(y + p, n) * silu(gate, exp2);
      if (s.mimo_o) gated = gated * load_some(s.mimo_o + rank + p, n);
      store_some(r ? load_some(out + p, n) + gated : gated, out + p, n);
    }
  }
}

static void mamba3_step(const Mamba3Step& s) {
  const Mamba3Parts at(s);
  const int64_t rows = s.R * s.N, keys = s.G * rows, P = s.E / s.H;
  const int64_t of_heads = Mamba3Heads::floats(s), each = Mamba3Scratch::floats(s);
  Scratch projected(s.B * at.all), heads(s.B * of_heads), shared(s.B * 2 * keys), y(s.B * s.E), slots(s.threads * each);
  gemv(s.threads, {s.in_proj, at.all, s.D}, s.B, s.x, s.D, projected.data(), at.all);
  auto token = [&](int64_t b) { return projected.data() + b * at.all; };
  auto of = [&](int64_t b) { return Mamba3Heads(heads.data() + b * of_heads, s.H); };
  FlushDenormals guard;
  const Exp2 exp2;
  for (int64_t b = 0; b < s.B; ++b) {
    of(b).load(s, at, token(b), exp2);
    float* k = shared.data() + b * 2 * keys;
    for (int64_t g = 0; g < s.G; ++g) {
      for (int64_t r = 0; r < s.R; ++r, k += s.N) {  // in_proj gives (R, G, N)
        const int64_t from = (r * s.G + g) * s.N;
        rms_norm(token(b) + at.k + from, s.N, s.eps, s.B_norm, k);
        rms_norm(token(b) + at.q + from, s.N, s.eps, s.C_norm, k + keys);
      }
    }
  }
  share(s.threads, s.B * s.H, s.B * s.E * s.N * 6 * s.R, [&](int64_t item, int slot) {
    const int64_t b = item / s.H, head = item % s.H;
    mamba3_head(s, at, b, head, token(b), of(b), shared.data() + b * 2 * keys, y.data() + b * s.E + head * P,
                slots.data() + slot * each);
  });
  for (int64_t b = 0; b < s.B; ++b) {
    __builtin_memcpy(s.k + b * keys, shared.data() + b * 2 * keys, sizeof(float) * keys);
    __builtin_memcpy(s.v + b * s.E, token(b) + at.x, sizeof(float) * s.E);
  }
  gemv(s.threads, {s.out_proj, s.D, s.E}, s.B, y.data(), s.E, s.y, s.D);
}
