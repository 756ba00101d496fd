// The baseline vector: four lanes in GCC/Clang vector extensions (SSE2 on x86-64, NEON on arm64).
// A new instruction set is one header with this same surface and one kernels_*.cpp that includes it.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bakeoff {
namespace KERNEL_NAMESPACE {

struct Vec {
  static constexpr int width = 4;
  static constexpr int fold = 1;  // vectors that store_partial() takes
  static constexpr int tile = 2;  // vectors in a row of a product's tile, of which six rows stay in registers
  using Float = float __attribute__((vector_size(16)));
  using Int = int32_t __attribute__((vector_size(16)));
  Float v;

  static Vec of(float x) { return {Float{x, x, x, x}}; }
  static Vec load(const float* p) {
    Vec r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  void store(float* p) const { std::memcpy(p, &v, sizeof v); }
  // As load() does, where much is read that lies in memory.
  static Vec load_streamed(const float* p) { return load(p); }
  // The first n < width lanes alone; the others are zeros.
  static Vec load_first(const float* p, int n) {
    Vec r = of(0.0f);
    for (int i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  void store_first(float* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
};

static inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
static inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
static inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
static inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
static inline Vec fms(Vec a, Vec b, Vec c) { return {a.v * b.v - c.v}; }
// 1 / a, within two roundings.
static inline Vec inverse(Vec a) { return Vec::of(1.0f) / a; }
static inline Vec select(Vec::Int mask, Vec a, Vec b) {
  return {(Vec::Float)(((Vec::Int)a.v & mask) | ((Vec::Int)b.v & ~mask))};
}
// Both return b when either is NaN, so that a limit given first lets NaN through.
static inline Vec max(Vec a, Vec b) { return select(a.v > b.v, a, b); }
static inline Vec min(Vec a, Vec b) { return select(a.v < b.v, a, b); }
static inline Vec where_negative(Vec x, Vec a, Vec b) { return select((Vec::Int)x.v >> 31, a, b); }
static inline Vec abs(Vec a) { return {(Vec::Float)((Vec::Int)a.v & 0x7fffffff)}; }

// The integer nearest to x; n gets it in the form that scale() takes: adding magic = 1.5 * 2^23 leaves it in the low
// mantissa bits.
static inline Vec nearest(Vec x, Vec magic, Vec& n) {
  n = x + magic;
  return n - magic;
}

// p * 2^k for the k that nearest() left in n.
static inline Vec scale(Vec p, Vec n) {
  return {(Vec::Float)((Vec::Int)p.v + ((Vec::Int)n.v << 23))};
}

// Adds the lanes of each of Vec::fold vectors up to four partial sums; stores them, or adds them to those at p.
static inline void store_partial(const Vec* x, float* p, bool first) { (first ? *x : *x + Vec::load(p)).store(p); }

// Lane i is the sum of the four partial sums at p + 4 i.
static inline Vec sum_partial(const float* p) {
  Vec r;
  for (int i = 0; i < 4; ++i) r.v[i] = (p[4 * i] + p[4 * i + 1]) + (p[4 * i + 2] + p[4 * i + 3]);
  return r;
}

// The sum of all lanes, pair by pair.
static inline float sum_lanes(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

// Lanes 2i and 2i + 1 change places.
static inline Vec swap_pairs(Vec a) { return {Vec::Float{a.v[1], a.v[0], a.v[3], a.v[2]}}; }

// Turns rows into columns: lane j of vector i goes to lane i of vector j.
static inline void turn(Vec* x) {
  for (int i = 0; i < Vec::width; ++i) {
    for (int j = 0; j < i; ++j) {
      const float kept = x[i].v[j];
      x[i].v[j] = x[j].v[i];
      x[j].v[i] = kept;
    }
  }
}

// Hides a value from the optimiser, which would otherwise spill it or fold it away.
static inline Vec opaque(Vec x) {
#if defined(__x86_64__)
  asm("" : "+x"(x.v));
#else
  asm("" : "+w"(x.v));
#endif
  return x;
}

// Flushes denormals to zero during its lifetime: they take a hundred times as long and contribute nothing.
class FlushDenormals {
#if defined(__x86_64__)
  unsigned saved_ = _mm_getcsr();

 public:
  FlushDenormals() { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
#endif
};

}  // namespace KERNEL_NAMESPACE
}  // namespace bakeoff
