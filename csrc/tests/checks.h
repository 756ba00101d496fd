// What the parts of the driver share: random arrays of exactly the size asked for, and how a check fails.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "dispatch.h"

using Array = std::vector<float>;

inline std::mt19937 generator(0);

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  std::exit(1);
}

inline Array random(int64_t size, float low, float high) {
  std::uniform_real_distribution<float> draw(low, high);
  Array x(static_cast<size_t>(size));
  for (float& v : x) v = draw(generator);
  return x;
}

// Runs the steps, and what stands around the scans, over many shapes; returns how many.
int check_steps(const bakeoff::Kernels& kernels);
int check_fused(const bakeoff::Kernels& kernels);
