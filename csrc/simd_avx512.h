// The AVX-512 (F, DQ) vector: sixteen lanes.
#pragma once
#include <immintrin.h>

namespace bakeoff {
namespace KERNEL_NAMESPACE {

struct Vec {
  static constexpr int width = 16;
  __m512 v;

  static Vec of(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
};

static inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline Vec where_negative(Vec x, Vec a, Vec b) {
  return {_mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x.v)), b.v, a.v)};
}
static inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }

static inline Vec scale(Vec p, Vec shifted) {
  __m512i k = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), k))};
}

static inline Vec split(Vec x, Vec& e) {
  __m512i bits = _mm512_castps_si512(x.v);
  __m512i k = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f3504f3)), 23);
  e.v = _mm512_cvtepi32_ps(k);
  return {_mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(k, 23)))};
}

// Adds rows pairwise, halving the terms of each sum at every stage: 16 -> 8 -> 4 -> 2 -> 1 vectors.
static inline Vec sum_rows(const float* p) {
  __m512 x[8], y[4], z[2];
  for (int i = 0; i < 8; ++i) {  // rows i and i + 8: sixteen lanes to eight
    __m512 a = _mm512_loadu_ps(p + 16 * i), b = _mm512_loadu_ps(p + 16 * (i + 8));
    x[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int i = 0; i < 4; ++i) {  // rows i, i + 4, i + 8, i + 12: four lanes each
    y[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x[i], x[i + 4], 0x88), _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    z[i] = _mm512_add_ps(_mm512_unpacklo_ps(y[i], y[i + 2]), _mm512_unpackhi_ps(y[i], y[i + 2]));
  }
  __m512 s = _mm512_add_ps(_mm512_unpacklo_ps(z[0], z[1]), _mm512_unpackhi_ps(z[0], z[1]));
  // Quarter q of s holds rows 0..3 of its group; the groups lie in the order 0, 8, 4, 12.
  return {_mm512_shuffle_f32x4(s, s, 0xd8)};
}

static inline Vec opaque(Vec x) {
  asm("" : "+v"(x.v));
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
