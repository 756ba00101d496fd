// How a kernel is told of a tensor.
#pragma once
#include <cstdint>

namespace bakeoff {

// A (B, L, width) tensor with contiguous last axis; strides in elements; null data means absent.
struct View {
  void* data = nullptr;
  int64_t batch = 0, row = 0;
  bool bf16 = false;
};

}  // namespace bakeoff
