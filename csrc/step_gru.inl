// The step of a gated recurrent unit [Cho et al. 2014], in the form of torch.nn.GRU, and the linear map behind it.
//
//   r = sigmoid(i_r + h_r) ;  u = sigmoid(i_u + h_u) ;  n = tanh(i_n + r h_n) ;  h <- (1 - u) n + u h
//   i = W_i x + b_i ;  h_* = W_h h + b_h

static void gru_step(const GruStep& s) {
  const int64_t E = s.E, rows = 3 * E;
  Scratch from_x(s.B * rows), from_h(s.B * rows);
  gemv(s.threads, {s.weight_ih, rows, s.D, s.bias_ih}, s.B, s.x, s.D, from_x.data(), rows);
  gemv(s.threads, {s.weight_hh, rows, E, s.bias_hh}, s.B, s.state, E, from_h.data(), rows);
  FlushDenormals guard;
  const Exp2 exp2;
  for (int64_t b = 0; b < s.B; ++b) {
    const float *x = from_x.data() + b * rows, *h = from_h.data() + b * rows;
    float* state = s.state + b * E;
    for (int64_t i = 0; i < E; i += W) {
      auto part = [&](const float* p, int64_t gate) { return load_some(p + gate * E + i, E - i); };
      const Vec reset = sigmoid(part(x, 0) + part(h, 0), exp2), update = sigmoid(part(x, 1) + part(h, 1), exp2);
      const Vec fresh = tanh(fma(reset, part(h, 2), part(x, 2)), exp2);
      store_some(fma(update, part(state, 0) - fresh, fresh), state + i, E - i);
    }
  }
  gemv(s.threads, {s.out_proj, s.D, E}, s.B, s.state, E, s.y, s.D);
}
