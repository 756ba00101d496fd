// The kernels compiled for AVX2 + FMA.
#define KERNEL_NAMESPACE avx2
#include "simd_avx2.h"
#include "kernels.inl"
