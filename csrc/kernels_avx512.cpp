// The kernels compiled for AVX-512.
#define KERNEL_NAMESPACE avx512
#include "simd_avx512.h"
#include "kernels.inl"
