// Queries or keys of attention on their way to the scores, head by head.
//
//   n = x w / sqrt(mean x^2 + eps) ;  (a, b) -> (a cos - b sin, a sin + b cos) for channels i and i + P/2 of n

// The factor of a head's channels, 1 without a norm.
static float head_scale(const Heads& s, const float* x) {
  return s.norm ? 1.0f / __builtin_sqrtf(sum_of_squares(x, s.P) / static_cast<float>(s.P) + s.eps) : 1.0f;
}

static void heads_forward_item(const HeadsForward& s, int64_t item, float* memory) {
  const Stretch on(s.L, item);
  const int64_t E = s.H * s.P, half = s.P / 2;
  const Rows x(s.x, on.b, s.L, false), out(s.out, on.b, s.L, false);
  const Read read{x, E, memory};
  const Written to{out, E, memory + padded(E)};
  for (int64_t t = on.first; t < on.end; ++t) {
    const float* from = read(t);
    float* row = to(t);
    for (int64_t h = 0; h < s.H; ++h, from += s.P, row += s.P) {
      const Vec scale = Vec::of(head_scale(s, from));
      auto normed = [&](int64_t i, int64_t n) {
        return load_some(from + i, n) * scale * some_or_one(s.norm, i, n);
      };
      if (!s.cosines) {
        for (int64_t i = 0; i < s.P; i += W) store_some(normed(i, s.P - i), row + i, s.P - i);
        continue;
      }
      const float *cosines = s.cosines + t * half, *sines = s.sines + t * half;
      for (int64_t i = 0; i < half; i += W) {
        const int64_t n = half - i;
        const Vec a = normed(i, n), b = normed(half + i, n), c = load_some(cosines + i, n), sine = load_some(sines + i, n);
        store_some(a * c - b * sine, row + i, n);
        store_some(fma(a, sine, b * c), row + half + i, n);
      }
    }
    to.write(t);
  }
}

static void heads_forward(const HeadsForward& s) {
  const int64_t E = s.H * s.P, each = 2 * padded(E);
  Scratch slots(each * s.threads);
  share(s.threads, stretches(s.B, s.L), s.B * s.L * E * 4, [&](int64_t item, int slot) {
    heads_forward_item(s, item, slots.data() + slot * each);
  });
}

// `sums` is (P): the gradient of the norm's weight over the item's tokens and heads.
static void heads_backward_item(const HeadsBackward& s, int64_t item, float* memory, float* sums) {
  const Stretch on(s.L, item);
  const int64_t E = s.H * s.P, half = s.P / 2;
  const Rows x(s.x, on.b, s.L, false), dout(s.dout, on.b, s.L, false), dx(s.dx, on.b, s.L, false);
  const Read read{x, E, memory}, read_grad{dout, E, memory + padded(E)};
  const Written to{dx, E, memory + 2 * padded(E)};
  float* turned = memory + 3 * padded(E);  // the gradient of n
  zero(sums, s.P);
  for (int64_t t = on.first; t < on.end; ++t) {
    const float *from = read(t), *grad = read_grad(t);
    float* row = to(t);
    for (int64_t h = 0; h < s.H; ++h, from += s.P, grad += s.P, row += s.P) {
      float* dn = s.norm ? turned : row;
      if (s.cosines) {
        const float *cosines = s.cosines + t * half, *sines = s.sines + t * half;
        for (int64_t i = 0; i < half; i += W) {
          const int64_t n = half - i;
          const Vec a = load_some(grad + i, n), b = load_some(grad + half + i, n);
          const Vec c = load_some(cosines + i, n), sine = load_some(sines + i, n);
          store_some(fma(a, c, b * sine), dn + i, n);
          store_some(b * c - a * sine, dn + half + i, n);
        }
      } else {
        copy(grad, static_cast<int>(s.P), dn);
      }
      if (!s.norm) continue;
      const Vec scale = Vec::of(head_scale(s, from));
      Vec along = Vec::of(0.0f);
      for (int64_t i = 0; i < s.P; i += W) {
        const int64_t n = s.P - i;
        const Vec d = load_some(dn + i, n), normed = load_some(from + i, n) * scale;
        add_some(d * normed, sums + i, n);
        along = fma(d * load_some(s.norm + i, n), normed, along);
      }
      const Vec mean = Vec::of(sum_lanes(along) / static_cast<float>(s.P));
      for (int64_t i = 0; i < s.P; i += W) {
        const int64_t n = s.P - i;
        const Vec inner = load_some(dn + i, n) * load_some(s.norm + i, n), normed = load_some(from + i, n) * scale;
        store_some((inner - normed * mean) * scale, row + i, n);
      }
    }
    to.write(t);
  }
}

static void heads_backward(const HeadsBackward& s) {
  const int64_t E = s.H * s.P, P = padded(s.P), each = 3 * padded(E) + P, count = stretches(s.B, s.L);
  Scratch slots(each * s.threads), sums(P * count);
  share(s.threads, count, s.B * s.L * E * 8, [&](int64_t item, int slot) {
    heads_backward_item(s, item, slots.data() + slot * each, sums.data() + item * P);
  });
  if (s.norm) add_rows(sums.data(), count, P, s.P, s.dnorm);
}
