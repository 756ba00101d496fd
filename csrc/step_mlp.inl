// The step of a multilayer perceptron: down(gelu(up(x))), or down(silu(gate(x)) up(x)) [Shazeer 2020].

static void mlp_step(const MlpStep& s) {
  const int64_t size = s.B * s.E;
  Scratch up(size + W), gate(s.gate ? size + W : 0);
  gemv(s.threads, {s.up, s.E, s.D, s.up_bias}, s.B, s.x, s.D, up.data(), s.E);
  if (s.gate) gemv(s.threads, {s.gate, s.E, s.D}, s.B, s.x, s.D, gate.data(), s.E);
  FlushDenormals guard;
  const Exp2 exp2;
  for (int64_t i = 0; i < size; i += W) {
    float* p = up.data() + i;
    const Vec x = load_some(p, size - i);
    (s.gate ? silu(load_some(gate.data() + i, size - i), exp2) * x : gelu(x, exp2)).store(p);
  }
  gemv(s.threads, {s.down, s.D, s.E, s.down_bias}, s.B, up.data(), s.E, s.y, s.D);
}
