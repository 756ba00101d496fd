// The AVX2 + FMA vector: eight lanes.
#pragma once
#include <immintrin.h>

namespace bakeoff {
namespace KERNEL_NAMESPACE {

struct Vec {
  static constexpr int width = 8;
  static constexpr int fold = 1;
  static constexpr int tile = 2;
  __m256 v;

  static Vec of(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  static Vec load_streamed(const float* p) { return load(p); }
  static Vec load_first(const float* p, int n) { return {_mm256_maskload_ps(p, first(n))}; }
  void store_first(float* p, int n) const { _mm256_maskstore_ps(p, first(n), v); }

  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

static inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec fms(Vec a, Vec b, Vec c) { return {_mm256_fmsub_ps(a.v, b.v, c.v)}; }
static inline Vec inverse(Vec a) { return Vec::of(1.0f) / a; }
static inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
static inline Vec where_negative(Vec x, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, x.v)}; }
static inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }

static inline Vec nearest(Vec x, Vec magic, Vec& n) {
  n = x + magic;
  return n - magic;
}
static inline Vec scale(Vec p, Vec n) {
  __m256i k = _mm256_slli_epi32(_mm256_castps_si256(n.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p.v), k))};
}

static inline void store_partial(const Vec* x, float* p, bool first) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x->v), _mm256_extractf128_ps(x->v, 1));
  _mm_storeu_ps(p, first ? s : _mm_add_ps(s, _mm_loadu_ps(p)));
}

static inline Vec sum_partial(const float* p) {
  auto rows = [p](int i) { return _mm256_loadu_ps(p + 8 * i); };
  __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(rows(0), rows(1)), _mm256_hadd_ps(rows(2), rows(3)));
  return {_mm256_permutevar8x32_ps(s, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))};
}

static inline float sum_lanes(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline Vec swap_pairs(Vec a) { return {_mm256_permute_ps(a.v, 0xb1)}; }

static inline void turn(Vec* x) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
    a[i + 1] = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + 2 + j], 0x44);
      b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + 2 + j], 0xee);
    }
  }
  for (int i = 0; i < 4; ++i) {
    x[i].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    x[i + 4].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
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
