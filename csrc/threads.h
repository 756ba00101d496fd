// A small pool of threads that shares out numbered work items.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace bakeoff {

// Calls body(context, item, slot) once for every item in [0, items) on at most `threads` threads, the
// caller among them. `slot` in [0, threads) names the thread, for its scratch memory. Items start in order
// but end in any: a body must write nothing that another item reads, and must not throw.
void parallel_for(int threads, int64_t items, void (*body)(void* context, int64_t item, int slot), void* context);

// Cache-line-aligned memory, not initialised. Throws std::bad_alloc.
class Scratch {
 public:
  explicit Scratch(int64_t floats);
  float* data() const { return data_; }

 private:
  std::unique_ptr<float[]> owner_;
  float* data_;
};

}  // namespace bakeoff
