// The peak rate of fused multiply-adds, which the benchmark compares the scan's time with.

// Twelve independent chains keep every port busy. Returns the multiply-adds done, one per lane.
static double probe(int64_t rounds) {
  constexpr int chains = 12;
  Vec x[chains], scale_by = opaque(Vec::of(0.999f)), shift = opaque(Vec::of(0.001f));
  for (int i = 0; i < chains; ++i) x[i] = Vec::of(1.0f + static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) x[i] = opaque(fma(x[i], scale_by, shift));
  }
  for (int i = 1; i < chains; ++i) x[0] = x[0] + x[i];
  float lanes[W];
  x[0].store(lanes);
  [[maybe_unused]] volatile float used = lanes[0];
  return static_cast<double>(rounds) * chains * W;
}
