// What stands around a mixer in its branch: the norm with the condition's factor and shift, and the gated sum.
//
//   out = n factor + shift,  n = (x - m) s,  s = 1 / sqrt(mean (x - m)^2 + eps),  m the mean of x, or 0 if not centred
//   dn = dout factor ;  dx = s (dn - mean dn - n mean(dn n)), the mean of dn only if centred
//
// Factor, shift and gate are each sample's own; their gradients are sums over its tokens.

// A token's m and s.
struct Moments {
  Vec mean, scale;

  Moments(const Norm& s, const float* x) {
    const float count = static_cast<float>(s.D);
    float m = 0.0f;
    if (s.centred) {
      Vec sum = Vec::of(0.0f);
      for (int64_t i = 0; i < s.D; i += W) sum = sum + load_some(x + i, s.D - i);
      m = sum_lanes(sum) / count;
    }
    mean = Vec::of(m);
    Vec squares = Vec::of(0.0f);
    int64_t i = 0;
    for (; i + W <= s.D; i += W) {
      const Vec v = Vec::load(x + i) - mean;
      squares = fma(v, v, squares);
    }
    float sum = sum_lanes(squares);
    for (; i < s.D; ++i) sum += (x[i] - m) * (x[i] - m);  // the lanes behind the last channel would each add m^2
    scale = Vec::of(1.0f / __builtin_sqrtf(sum / count + s.eps));
  }
};

// The row of a sample's own values, (B, 1, D).
static const float* own_row(const View& view, int64_t b, int64_t D, float* buffer) {
  const Rows rows(view, b, 1, false);
  return rows ? Read{rows, D, buffer}(0) : nullptr;
}

static void norm_forward_item(const NormForward& s, int64_t item, float* memory) {
  const Stretch on(s.L, item);
  const int64_t D = padded(s.D);
  const float *factor = own_row(s.factor, on.b, s.D, memory), *shift = own_row(s.shift, on.b, s.D, memory + D);
  const Rows x(s.x, on.b, s.L, false), out(s.out, on.b, s.L, false);
  const Read read{x, s.D, memory + 2 * D};
  const Written to{out, s.D, memory + 3 * D};
  for (int64_t t = on.first; t < on.end; ++t) {
    const float* from = read(t);
    float* row = to(t);
    const Moments of(s, from);
    for (int64_t i = 0; i < s.D; i += W) {
      const int64_t n = s.D - i;
      const Vec normed = (load_some(from + i, n) - of.mean) * of.scale, scaled = normed * load_some(factor + i, n);
      store_some(shift ? scaled + load_some(shift + i, n) : scaled, row + i, n);
    }
    to.write(t);
  }
}

static void norm_forward(const NormForward& s) {
  const int64_t each = 4 * padded(s.D);
  Scratch slots(each * s.threads);
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.D * 4, [&](int64_t item, int slot) {
    norm_forward_item(s, item, slots.data() + slot * each);
  });
}

// `sums` is (D) twice: the gradients of factor and shift over the item's tokens.
static void norm_backward_item(const NormBackward& s, int64_t item, float* memory, float* sums) {
  const Stretch on(s.L, item);
  const int64_t D = padded(s.D);
  const float* factor = own_row(s.factor, on.b, s.D, memory);
  const Rows x(s.x, on.b, s.L, false), dout(s.dout, on.b, s.L, false), dx(s.dx, on.b, s.L, false);
  const Read read{x, s.D, memory + D}, read_grad{dout, s.D, memory + 2 * D};
  const Written to{dx, s.D, memory + 3 * D};
  zero(sums, 2 * D);
  const float count = static_cast<float>(s.D);
  for (int64_t t = on.first; t < on.end; ++t) {
    const float *from = read(t), *grad = read_grad(t);
    float* row = to(t);
    const Moments of(s, from);
    Vec along = Vec::of(0.0f), total = along;
    for (int64_t i = 0; i < s.D; i += W) {
      const int64_t n = s.D - i;
      const Vec normed = (load_some(from + i, n) - of.mean) * of.scale, d = load_some(grad + i, n);
      add_some(d * normed, sums + i, n);
      add_some(d, sums + D + i, n);
      const Vec inner = d * load_some(factor + i, n);
      along = fma(inner, normed, along);
      total = total + inner;
    }
    const Vec mean_along = Vec::of(sum_lanes(along) / count), mean = Vec::of(s.centred ? sum_lanes(total) / count : 0.0f);
    for (int64_t i = 0; i < s.D; i += W) {
      const int64_t n = s.D - i;
      const Vec normed = (load_some(from + i, n) - of.mean) * of.scale;
      const Vec inner = load_some(grad + i, n) * load_some(factor + i, n);
      store_some((inner - mean - normed * mean_along) * of.scale, row + i, n);
    }
    to.write(t);
  }
}

// to (B, n) = the sums of each sample's stretches, `apart` floats from each other.
static void add_stretches(const float* from, int64_t B, int64_t L, int64_t apart, int64_t n, float* to) {
  const int64_t each = parts_of(L, kStretchTokens);
  for (int64_t b = 0; to && b < B; ++b) add_rows(from + b * each * apart, each, apart, n, to + b * n);
}

static void norm_backward(const NormBackward& s) {
  const int64_t D = padded(s.D), each = 4 * D;
  Scratch slots(each * s.threads), sums(2 * D * stretches(s.B, s.L));
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.D * 8, [&](int64_t item, int slot) {
    norm_backward_item(s, item, slots.data() + slot * each, sums.data() + item * 2 * D);
  });
  add_stretches(sums.data(), s.B, s.L, 2 * D, s.D, s.dfactor);
  add_stretches(sums.data() + D, s.B, s.L, 2 * D, s.D, s.dshift);
}

static void residual_forward(const ResidualForward& s) {
  const int64_t D = padded(s.D), each = 4 * D;
  Scratch slots(each * s.threads);
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.D, [&](int64_t item, int slot) {
    const Stretch on(s.L, item);
    float* memory = slots.data() + slot * each;
    const float* gate = own_row(s.gate, on.b, s.D, memory);
    const Rows x(s.x, on.b, s.L, false), y(s.y, on.b, s.L, false), out(s.out, on.b, s.L, false);
    const Read read_x{x, s.D, memory + D}, read_y{y, s.D, memory + 2 * D};
    const Written to{out, s.D, memory + 3 * D};
    for (int64_t t = on.first; t < on.end; ++t) {
      const float *left = read_x(t), *right = read_y(t);
      float* row = to(t);
      for (int64_t i = 0; i < s.D; i += W) {
        const int64_t n = s.D - i;
        store_some(fma(load_some(gate + i, n), load_some(right + i, n), load_some(left + i, n)), row + i, n);
      }
      to.write(t);
    }
  });
}

static void residual_backward(const ResidualBackward& s) {
  const int64_t D = padded(s.D), each = 4 * D;
  Scratch slots(each * s.threads), sums(D * stretches(s.B, s.L));
  share(s.threads, stretches(s.B, s.L), s.B * s.L * s.D * 2, [&](int64_t item, int slot) {
    const Stretch on(s.L, item);
    float *memory = slots.data() + slot * each, *sum = sums.data() + item * D;
    const float* gate = own_row(s.gate, on.b, s.D, memory);
    const Rows y(s.y, on.b, s.L, false), dout(s.dout, on.b, s.L, false), dy(s.dy, on.b, s.L, false);
    const Read read_y{y, s.D, memory + D}, read_grad{dout, s.D, memory + 2 * D};
    const Written to{dy, s.D, memory + 3 * D};
    zero(sum, D);
    for (int64_t t = on.first; t < on.end; ++t) {
      const float *right = read_y(t), *grad = read_grad(t);
      float* row = to(t);
      for (int64_t i = 0; i < s.D; i += W) {
        const int64_t n = s.D - i;
        const Vec d = load_some(grad + i, n);
        store_some(d * load_some(gate + i, n), row + i, n);
        add_some(d * load_some(right + i, n), sum + i, n);
      }
      to.write(t);
    }
  });
  add_stretches(sums.data(), s.B, s.L, D, s.D, s.dgate);
}
