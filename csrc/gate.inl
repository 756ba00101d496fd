// What stands behind the scan of Mamba-2 and -3: the skip, the gate, the sum over ranks, the norm.
//
//   s_r = y_r + D in_r x ;  a_r = by_r z ;  m = sum_r of_r s_r silu(a_r) ;  out = m weight / sqrt(mean m^2 + eps)
//
// A work item is a stretch of one sample's tokens. With one rank and nothing to scale, all heads are one block of
// channels; else each head is a block, its ranks one after the other.

struct GateBlocks {
  int64_t count, R, P;

  explicit GateBlocks(const Gate& s) {
    const bool one = s.R == 1 && !s.in;
    count = one ? 1 : s.H, R = s.R, P = one ? s.H * s.P : s.P;
  }

  // Calls use(channel, first rank's place, lanes) for all channels of a token, a vector at a time.
  template <class Use>
  void walk(Use use) const {
    for (int64_t h = 0; h < count; ++h) {
      for (int64_t p = 0; p < P; p += W) use(h * P + p, h * R * P + p, P - p);
    }
  }
};

// Scratch rows of one thread.
struct GateScratch {
  float *y, *x, *z, *out, *m, *dy, *dx, *dz;

  GateScratch(const Gate& s, float* memory) {
    const int64_t E = padded(s.H * s.P), RE = padded(s.R * s.H * s.P);
    y = memory, dy = y + RE, x = dy + RE, z = x + E, out = z + E, m = out + E, dx = m + E, dz = dx + E;
  }
  static int64_t floats(const Gate& s) { return 2 * padded(s.R * s.H * s.P) + 6 * padded(s.H * s.P); }
};

// D of every channel.
static void spread_skip(const Gate& s, float* wide) {
  for (int64_t i = 0; i < s.H * s.P; ++i) wide[i] = s.skip ? s.skip[i / s.P] : 0.0f;
}

// m of one token.
static void gate_token(const Gate& s, const GateBlocks& blocks, const float* skip, const float* y, const float* x,
                       const float* z, float* m, const Exp2& exp2) {
  blocks.walk([&](int64_t c, int64_t at, int64_t n) {
    const Vec gate = load_some(z + c, n), added = x ? load_some(skip + c, n) * load_some(x + c, n) : Vec::of(0.0f);
    Vec sum = Vec::of(0.0f);
    for (int64_t r = 0; r < blocks.R; ++r, at += blocks.P) {
      const Vec state = fma(added, some_or_one(s.in, at, n), load_some(y + at, n));
      const Vec open = silu(gate * some_or_one(s.by, at, n), exp2);
      sum = fma(state * open, some_or_one(s.of, at, n), sum);
    }
    store_some(sum, m + c, n);
  });
}

static void gate_forward_item(const GateForward& s, const float* skip, int64_t item, float* memory) {
  const Stretch on(s.L, item);
  const GateBlocks blocks(s);
  const GateScratch scratch(s, memory);
  const int64_t E = s.H * s.P, size = E / s.groups;
  const Rows y(s.y, on.b, s.L, false), x(s.x, on.b, s.L, false), z(s.z, on.b, s.L, false), out(s.out, on.b, s.L, false);
  const Read read_y{y, s.R * E, scratch.y}, read_x{x, E, scratch.x}, read_z{z, E, scratch.z};
  const Written to{out, E, scratch.out};
  const Exp2 exp2;
  for (int64_t t = on.first; t < on.end; ++t) {
    float* row = to(t);
    gate_token(s, blocks, skip, read_y(t), x ? read_x(t) : nullptr, read_z(t), row, exp2);
    if (s.norm) {
      for (int64_t i = 0; i < E; i += size) rms_norm(row + i, size, s.eps, s.norm + i, row + i);
    }
    to.write(t);
  }
}

static void gate_forward(const GateForward& s) {
  const int64_t E = s.H * s.P, each = GateScratch::floats(s);
  Scratch slots(each * s.threads), skip(padded(E));
  spread_skip(s, skip.data());
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.R * E * 16, [&](int64_t item, int slot) {
    gate_forward_item(s, skip.data(), item, slots.data() + slot * each);
  });
}

// One item's sums of the gradients of what all tokens share: (H, R, P) three times, (E) twice.
struct GateSums {
  float *in, *by, *of, *skip, *norm;

  GateSums(const Gate& s, float* memory) {
    const int64_t E = padded(s.H * s.P), RE = s.in ? padded(s.R * s.H * s.P) : 0;
    in = memory, by = in + RE, of = by + RE, skip = of + RE, norm = skip + E;
  }
  static int64_t floats(const Gate& s) {
    return (s.in ? 3 * padded(s.R * s.H * s.P) : 0) + 2 * padded(s.H * s.P);
  }
};

// The gradient of m from that of out, which becomes it, for one group of channels.
static void gate_norm_backward(const float* m, int64_t n, float eps, const float* weight, float* grad, float* dweight) {
  const float scale = 1.0f / __builtin_sqrtf(sum_of_squares(m, n) / static_cast<float>(n) + eps);
  const Vec by = Vec::of(scale);
  Vec along = Vec::of(0.0f);
  for (int64_t i = 0; i < n; i += W) {
    const Vec normed = load_some(m + i, n - i) * by, d = load_some(grad + i, n - i);
    add_some(d * normed, dweight + i, n - i);
    along = fma(d * load_some(weight + i, n - i), normed, along);
  }
  const Vec mean = Vec::of(sum_lanes(along) / static_cast<float>(n));
  for (int64_t i = 0; i < n; i += W) {
    const Vec normed = load_some(m + i, n - i) * by, d = load_some(grad + i, n - i) * load_some(weight + i, n - i);
    store_some((d - normed * mean) * by, grad + i, n - i);
  }
}

// dy, dx and dz of one token, and its share of the sums, from the gradient of m.
static void gate_token_backward(const Gate& s, const GateBlocks& blocks, const float* skip, const float* y,
                                const float* x, const float* z, const float* dm, float* dy, float* dx, float* dz,
                                const GateSums& sums, const Exp2& exp2) {
  const Vec one = Vec::of(1.0f);
  blocks.walk([&](int64_t c, int64_t at, int64_t n) {
    const Vec gate = load_some(z + c, n), grad = load_some(dm + c, n), D = load_some(skip + c, n);
    const Vec input = x ? load_some(x + c, n) : Vec::of(0.0f);
    Vec to_x = Vec::of(0.0f), to_z = to_x;
    for (int64_t r = 0; r < blocks.R; ++r, at += blocks.P) {
      const Vec in = some_or_one(s.in, at, n), by = some_or_one(s.by, at, n), of = some_or_one(s.of, at, n);
      const Vec a = gate * by, sig = sigmoid(a, exp2), open = a * sig, slope = sig * (one + (a - open));
      const Vec state = fma(D * input, in, load_some(y + at, n)), top = grad * of;
      const Vec to_state = top * open, to_a = top * state * slope;
      store_some(to_state, dy + at, n);
      to_z = fma(to_a, by, to_z);
      to_x = fma(to_state, in, to_x);
      if (s.in) {
        add_some(to_state * D * input, sums.in + at, n);
        add_some(to_a * gate, sums.by + at, n);
        add_some(grad * state * open, sums.of + at, n);
      }
    }
    store_some(to_z, dz + c, n);
    if (!x) return;
    store_some(to_x * D, dx + c, n);
    add_some(to_x * input, sums.skip + c, n);
  });
}

static void gate_backward_item(const GateBackward& s, const float* skip, int64_t item, float* memory, float* summed) {
  const Stretch on(s.L, item);
  const GateBlocks blocks(s);
  const GateScratch scratch(s, memory);
  const GateSums sums(s, summed);
  const int64_t E = s.H * s.P, size = E / s.groups;
  const Rows y(s.y, on.b, s.L, false), x(s.x, on.b, s.L, false), z(s.z, on.b, s.L, false);
  const Rows dout(s.dout, on.b, s.L, false), dy(s.dy, on.b, s.L, false), dx(s.dx, on.b, s.L, false);
  const Rows dz(s.dz, on.b, s.L, false);
  const Read read_y{y, s.R * E, scratch.y}, read_x{x, E, scratch.x}, read_z{z, E, scratch.z};
  const Read read_grad{dout, E, scratch.out};
  const Written to_y{dy, s.R * E, scratch.dy}, to_x{dx, E, scratch.dx}, to_z{dz, E, scratch.dz};
  const Exp2 exp2;
  zero(summed, GateSums::floats(s));
  for (int64_t t = on.first; t < on.end; ++t) {
    const float *y_row = read_y(t), *x_row = x ? read_x(t) : nullptr, *z_row = read_z(t), *grad = read_grad(t);
    if (s.norm) {
      gate_token(s, blocks, skip, y_row, x_row, z_row, scratch.m, exp2);
      if (grad != scratch.out) copy(grad, static_cast<int>(E), scratch.out);
      for (int64_t i = 0; i < E; i += size) {
        gate_norm_backward(scratch.m + i, size, s.eps, s.norm + i, scratch.out + i, sums.norm + i);
      }
      grad = scratch.out;
    }
    gate_token_backward(s, blocks, skip, y_row, x_row, z_row, grad, to_y(t), x ? to_x(t) : nullptr, to_z(t), sums, exp2);
    to_y.write(t), to_z.write(t);
    if (x) to_x.write(t);
  }
}

static void gate_backward(const GateBackward& s) {
  const int64_t E = s.H * s.P, each = GateScratch::floats(s), of_item = GateSums::floats(s);
  const int64_t count = stretches(s.B, s.L);
  Scratch slots(each * s.threads), skip(padded(E)), sums(of_item * count);
  spread_skip(s, skip.data());
  share(s.threads, count, s.B * s.L * s.R * E * 32, [&](int64_t item, int slot) {
    gate_backward_item(s, skip.data(), item, slots.data() + slot * each, sums.data() + item * of_item);
  });
  const GateSums first(s, sums.data());
  if (s.in) {
    add_rows(first.in, count, of_item, s.R * E, s.din);
    add_rows(first.by, count, of_item, s.R * E, s.dby);
    add_rows(first.of, count, of_item, s.R * E, s.dof);
  }
  if (s.norm) add_rows(first.norm, count, of_item, E, s.dnorm);
  if (!s.skip) return;
  add_rows(first.skip, count, of_item, E, skip.data());
  for (int64_t h = 0; h < s.H; ++h) {
    s.dskip[h] = 0.0f;
    for (int64_t p = 0; p < s.P; ++p) s.dskip[h] += skip.data()[h * s.P + p];
  }
}
