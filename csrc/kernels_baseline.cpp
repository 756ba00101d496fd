// The kernels compiled for the baseline: whatever every processor of this architecture has.
#define KERNEL_NAMESPACE baseline
#include "simd_baseline.h"
#include "kernels.inl"
