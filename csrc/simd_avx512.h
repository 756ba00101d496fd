// The AVX-512 (F, DQ) vector: sixteen lanes.
#pragma once
#include <immintrin.h>

namespace bakeoff {
namespace KERNEL_NAMESPACE {

struct Vec {
  static constexpr int width = 16;
  static constexpr int fold = 4;
  static constexpr int tile = 4;
  __m512 v;

  static Vec of(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  static Vec load_streamed(const float* p) {  // halves of a cache line come from memory faster than whole ones
    return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(p)), _mm256_loadu_ps(p + 8), 1)};
  }
  static Vec load_first(const float* p, int n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  void store_first(float* p, int n) const { _mm512_mask_storeu_ps(p, first(n), v); }

  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }
};

static inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec fms(Vec a, Vec b, Vec c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
static inline Vec inverse(Vec a) {  // one step of Newton's; a division takes four times as long
  const __m512 x = _mm512_rcp14_ps(a.v);
  return {_mm512_mul_ps(x, _mm512_fnmadd_ps(a.v, x, _mm512_set1_ps(2.0f)))};
}
static inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline Vec where_negative(Vec x, Vec a, Vec b) {
  return {_mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x.v)), b.v, a.v)};
}
static inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }

static inline Vec nearest(Vec x, Vec magic, Vec& n) {
  n = x + magic;
  return n - magic;
}
static inline Vec scale(Vec p, Vec n) {
  const __m512i k = _mm512_slli_epi32(_mm512_castps_si512(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), k))};
}

static inline void store_partial(const Vec* x, float* p, bool first) {
  __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(x[0].v, x[1].v, 0x44), _mm512_shuffle_f32x4(x[0].v, x[1].v, 0xee));
  __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(x[2].v, x[3].v, 0x44), _mm512_shuffle_f32x4(x[2].v, x[3].v, 0xee));
  __m512 s = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  _mm512_storeu_ps(p, first ? s : _mm512_add_ps(s, _mm512_loadu_ps(p)));
}

static inline Vec sum_partial(const float* p) {
  __m512 x[4], y[2];
  for (int i = 0; i < 4; ++i) x[i] = _mm512_loadu_ps(p + 16 * i);
  for (int i = 0; i < 2; ++i) {
    y[i] = _mm512_add_ps(_mm512_unpacklo_ps(x[i], x[i + 2]), _mm512_unpackhi_ps(x[i], x[i + 2]));
  }
  __m512 s = _mm512_add_ps(_mm512_unpacklo_ps(y[0], y[1]), _mm512_unpackhi_ps(y[0], y[1]));
  // Lane 4 q + i of s is sum 4 i + q.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {_mm512_permutexvar_ps(order, s)};
}

static inline float sum_lanes(Vec a) { return _mm512_reduce_add_ps(a.v); }

static inline Vec swap_pairs(Vec a) { return {_mm512_permute_ps(a.v, 0xb1)}; }

static inline void turn(Vec* x) {
  __m512 a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm512_shuffle_ps(a[i + j], a[i + 2 + j], 0x44);
      b[i + 2 * j + 1] = _mm512_shuffle_ps(a[i + j], a[i + 2 + j], 0xee);
    }
  }
  for (int i = 0; i < 4; ++i) {  // quarter j of b[4 k + i] is quarter k of column 4 j + i
    const __m512 low = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88), low2 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
    const __m512 high = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
    const __m512 high2 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    x[i].v = _mm512_shuffle_f32x4(low, high, 0x88);
    x[i + 8].v = _mm512_shuffle_f32x4(low, high, 0xdd);
    x[i + 4].v = _mm512_shuffle_f32x4(low2, high2, 0x88);
    x[i + 12].v = _mm512_shuffle_f32x4(low2, high2, 0xdd);
  }
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
