// What stands before the scan of Mamba-3: queries and keys with the head's bias, turned, and the values of each rank.
//
//   (a, b) -> (a cos - b sin, a sin + b cos) for channels 2i and 2i + 1, i < S, of x + bias ;  v_r = scale_r x
//
// Lanes are channels: y = x c + swapped(x) s with c = (cos, cos) and s = (-sin, sin). The gradient of an angle is
// dy_b y_a - dy_a y_b, from what forward gave, so that backward does not need what forward was given.

// c and s of one token, of all heads one after the other: (H, 2 S) each.
struct Turns {
  float *cosines, *sines, *c, *s;
  int64_t angles;

  Turns(const Turn& of, float* memory) : angles(of.H * of.S) {
    cosines = memory, sines = cosines + padded(angles), c = sines + padded(angles), s = c + padded(2 * angles);
  }
  static int64_t floats(const Turn& of) { return 2 * padded(of.H * of.S) + 2 * padded(2 * of.H * of.S); }

  void load(const float* angle, const Exp2& exp2) const {
    for (int64_t i = 0; i < angles; i += W) {
      Vec sine, cosine;
      sine_cosine(load_some(angle + i, angles - i), sine, cosine, exp2);
      sine.store(sines + i), cosine.store(cosines + i);
    }
    for (int64_t i = 0; i < angles; ++i) {
      c[2 * i] = c[2 * i + 1] = cosines[i];
      s[2 * i] = -sines[i], s[2 * i + 1] = sines[i];
    }
  }
};

// All heads' rows of one token: `to` (H, R, N) from `from` (G, R, N).
static void turn_token(const Turn& s, const Turns& by, const float* from, const float* bias, float* to) {
  const int64_t rows = s.R * s.N, turned = 2 * s.S;
  for (int64_t h = 0; h < s.H; ++h) {
    const float *x = from + h / (s.H / s.G) * rows, *c = by.c + h * turned, *sine = by.s + h * turned;
    for (int64_t r = 0; r < s.R; ++r, x += s.N, to += s.N) {
      auto given = [&](int64_t i, int64_t n) {
        const Vec v = load_some(x + i, n);
        return bias ? v + load_some(bias + i, n) : v;
      };
      for (int64_t i = 0; i < turned; i += W) {
        const int64_t n = turned - i;
        const Vec v = given(i, n);
        store_some(fma(swap_pairs(v), load_some(sine + i, n), v * load_some(c + i, n)), to + i, n);
      }
      for (int64_t i = turned; i < s.N; i += W) store_some(given(i, s.N - i), to + i, s.N - i);
      if (bias) bias += s.N;
    }
  }
}

static void turn_forward_item(const TurnForward& s, int64_t item, float* memory) {
  const Stretch on(s.L, item);
  const int64_t shared = s.G * s.R * s.N;
  const Turns by(s, memory);
  float* buffer = memory + Turns::floats(s);
  const Exp2 exp2;
  const Rows q(s.q, on.b, s.L, false), k(s.k, on.b, s.L, false);
  const Rows q_turned(s.q_turned, on.b, s.L, false), k_turned(s.k_turned, on.b, s.L, false);
  const Read read_q{q, shared, buffer}, read_k{k, shared, buffer};
  for (int64_t t = on.first; t < on.end; ++t) {
    by.load(s.angle + (on.b * s.L + t) * s.H * s.S, exp2);
    turn_token(s, by, read_q(t), s.q_bias, const_cast<float*>(q_turned.floats(t)));
    turn_token(s, by, read_k(t), s.k_bias, const_cast<float*>(k_turned.floats(t)));
  }
}

static void turn_forward(const TurnForward& s) {
  const int64_t each = Turns::floats(s) + padded(s.G * s.R * s.N);
  Scratch slots(each * s.threads);
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.H * s.R * s.N * 8, [&](int64_t item, int slot) {
    turn_forward_item(s, item, slots.data() + slot * each);
  });
}

// Turns the gradient of one token's rows back: `dx` (G, R, N) gets the sums over a group's heads, `dbias` (H, R, N) is
// added to, and so is `along` (H, 2 S): dy of a channel times y of the one it is paired with.
static void turn_token_backward(const Turn& s, const Turns& by, const float* y, const float* dy, float* dx,
                                float* dbias, float* along) {
  const int64_t rows = s.R * s.N, turned = 2 * s.S, heads = s.H / s.G;
  for (int64_t h = 0; h < s.H; ++h) {
    const float *c = by.c + h * turned, *sine = by.s + h * turned;
    float *to = dx + h / heads * rows, *sums = along + h * turned;
    const bool first = h % heads == 0;
    for (int64_t r = 0; r < s.R; ++r, to += s.N, y += s.N, dy += s.N) {
      auto give = [&](Vec d, int64_t i, int64_t n) {
        store_some(first ? d : load_some(to + i, n) + d, to + i, n);
        if (dbias) add_some(d, dbias + i, n);
      };
      for (int64_t i = 0; i < turned; i += W) {
        const int64_t n = turned - i;
        const Vec d = load_some(dy + i, n);
        add_some(d * swap_pairs(load_some(y + i, n)), sums + i, n);
        give(d * load_some(c + i, n) - swap_pairs(d) * load_some(sine + i, n), i, n);
      }
      for (int64_t i = turned; i < s.N; i += W) give(load_some(dy + i, s.N - i), i, s.N - i);
      if (dbias) dbias += s.N;
    }
  }
}

// `sums` is (H, R, N) twice: the gradients of the two biases over the item's tokens.
static void turn_backward_item(const TurnBackward& s, int64_t item, float* memory, float* sums) {
  const Stretch on(s.L, item);
  const int64_t shared = s.G * s.R * s.N, own = s.H * s.R * s.N, angles = s.H * s.S;
  const Turns by(s, memory);
  float *along = memory + Turns::floats(s), *y_buffer = along + padded(2 * angles), *dy_buffer = y_buffer + padded(own);
  float* buffer = dy_buffer + padded(own);
  const Exp2 exp2;
  zero(sums, 2 * padded(own));
  auto back = [&](int64_t t, const View& y_view, const View& dy_view, const View& dx_view, float* dbias) {
    const Rows y(y_view, on.b, s.L, false), dy(dy_view, on.b, s.L, false), dx(dx_view, on.b, s.L, false);
    const Read read_y{y, own, y_buffer}, read_dy{dy, own, dy_buffer};
    const Written to{dx, shared, buffer};
    turn_token_backward(s, by, read_y(t), read_dy(t), to(t), dbias, along);
    to.write(t);
  };
  for (int64_t t = on.first; t < on.end; ++t) {
    const int64_t token = (on.b * s.L + t) * angles;
    by.load(s.angle + token, exp2);
    zero(along, 2 * angles);
    back(t, s.q_turned, s.dq_turned, s.dq, s.dq_bias ? sums : nullptr);
    back(t, s.k_turned, s.dk_turned, s.dk, s.dk_bias ? sums + padded(own) : nullptr);
    for (int64_t i = 0; i < angles; ++i) s.dangle[token + i] = along[2 * i + 1] - along[2 * i];
  }
}

static void turn_backward(const TurnBackward& s) {
  const int64_t own = s.H * s.R * s.N, count = stretches(s.B, s.L);
  const int64_t each = Turns::floats(s) + padded(2 * s.H * s.S) + 2 * padded(own) + padded(s.G * s.R * s.N);
  Scratch slots(each * s.threads), sums(2 * padded(own) * count);
  share(s.threads, count, s.B * s.L * own * 16, [&](int64_t item, int slot) {
    turn_backward_item(s, item, slots.data() + slot * each, sums.data() + item * 2 * padded(own));
  });
  if (s.dq_bias) add_rows(sums.data(), count, 2 * padded(own), own, s.dq_bias);
  if (s.dk_bias) add_rows(sums.data() + padded(own), count, 2 * padded(own), own, s.dk_bias);
}

static void ranks_forward(const RanksForward& s) {
  const int64_t E = s.H * s.P, each = padded(E) + padded(s.R * E);
  Scratch slots(each * s.threads);
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.R * E * 2, [&](int64_t item, int slot) {
    const Stretch on(s.L, item);
    float* buffer = slots.data() + slot * each;
    const Rows x(s.x, on.b, s.L, false), v(s.v, on.b, s.L, false);
    const Read read{x, E, buffer};
    const Written to{v, s.R * E, buffer + padded(E)};
    for (int64_t t = on.first; t < on.end; ++t) {
      const float *from = read(t), *scale = s.scale;
      float* row = to(t);
      for (int64_t h = 0; h < s.H; ++h, from += s.P) {
        for (int64_t r = 0; r < s.R; ++r, row += s.P, scale += s.P) {
          for (int64_t p = 0; p < s.P; p += W) {
            store_some(load_some(from + p, s.P - p) * load_some(scale + p, s.P - p), row + p, s.P - p);
          }
        }
      }
      to.write(t);
    }
  });
}

static void ranks_backward_item(const RanksBackward& s, int64_t item, float* memory, float* sums) {
  const Stretch on(s.L, item);
  const int64_t E = s.H * s.P;
  const Rows x(s.x, on.b, s.L, false), dv(s.dv, on.b, s.L, false), dx(s.dx, on.b, s.L, false);
  const Read read{x, E, memory}, read_grad{dv, s.R * E, memory + 2 * padded(E)};
  const Written to{dx, E, memory + padded(E)};
  zero(sums, s.R * E);
  for (int64_t t = on.first; t < on.end; ++t) {
    const float *from = read(t), *grad = read_grad(t);
    float* row = to(t);
    for (int64_t h = 0; h < s.H; ++h) {
      for (int64_t p = 0; p < s.P; p += W) {
        const int64_t n = s.P - p;
        const Vec input = load_some(from + h * s.P + p, n);
        Vec sum = Vec::of(0.0f);
        for (int64_t r = 0; r < s.R; ++r) {
          const int64_t at = (h * s.R + r) * s.P + p;
          const Vec d = load_some(grad + at, n);
          sum = fma(d, load_some(s.scale + at, n), sum);
          add_some(d * input, sums + at, n);
        }
        store_some(sum, row + h * s.P + p, n);
      }
    }
    to.write(t);
  }
}

static void ranks_backward(const RanksBackward& s) {
  const int64_t E = s.H * s.P, count = stretches(s.B, s.L), of_item = padded(s.R * E);
  const int64_t each = 2 * padded(E) + of_item;
  Scratch slots(each * s.threads), sums(of_item * count);
  share(s.threads, count, s.B * s.L * s.R * E * 4, [&](int64_t item, int slot) {
    ranks_backward_item(s, item, slots.data() + slot * each, sums.data() + item * of_item);
  });
  add_rows(sums.data(), count, of_item, s.R * E, s.dscale);
}
