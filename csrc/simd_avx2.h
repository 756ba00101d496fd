// The AVX2 + FMA vector: eight lanes.
#pragma once
#include <immintrin.h>

namespace bakeoff {
namespace KERNEL_NAMESPACE {

struct Vec {
  static constexpr int width = 8;
  __m256 v;

  static Vec of(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
};

static inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
static inline Vec where_negative(Vec x, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, x.v)}; }
static inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }

static inline Vec scale(Vec p, Vec shifted) {
  __m256i k = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), k))};
}

static inline Vec split(Vec x, Vec& e) {
  __m256i bits = _mm256_castps_si256(x.v);
  __m256i k = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f3504f3)), 23);
  e.v = _mm256_cvtepi32_ps(k);
  return {_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(k, 23)))};
}

static inline Vec sum_rows(const float* p) {
  auto row = [p](int i) { return _mm256_loadu_ps(p + 8 * i); };
  __m256 a = _mm256_hadd_ps(row(0), row(1)), b = _mm256_hadd_ps(row(2), row(3));
  __m256 c = _mm256_hadd_ps(row(4), row(5)), d = _mm256_hadd_ps(row(6), row(7));
  __m256 e = _mm256_hadd_ps(a, b), f = _mm256_hadd_ps(c, d);
  return {_mm256_add_ps(_mm256_permute2f128_ps(e, f, 0x20), _mm256_permute2f128_ps(e, f, 0x31))};
}

static inline Vec opaque(Vec x) {
  asm("" : "+x"(x.v));
  return x;
}

class FlushDenormals {
  unsigned saved_ = _mm_getcsr();

 public:
  FlushDenormals() { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
};

}  // namespace KERNEL_NAMESPACE
}  // namespace bakeoff
