"""Functions of float32 tiles inside Triton kernels, in operations that a GPU and Triton's interpreter both have."""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def exp_nonpositive(x):
    return tl.exp2(x * LOG2E)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), by an exponential that cannot overflow."""
    e = exp_nonpositive(-tl.abs(x))
    return tl.where(x < 0, e, 1.0) / (1.0 + e)


@triton.jit
def silu_slope(x, s):
    """The derivative of x sigmoid(x); s is the sigmoid."""
    return s * (1.0 + x * (1.0 - s))


@triton.jit
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(e), e = exp(-|x|), and its derivative.

    log1p(e) = 2 artanh(r), r = e / (2 + e) <= 1/3, by its series: the GPU's hardware logarithm is not accurate to
    float32 near 1, where small steps lie.
    """
    e = exp_nonpositive(-tl.abs(x))
    r = e / (2.0 + e)
    r2 = r * r
    series = r2 * (1 / 13) + 1 / 11
    series = r2 * series + 1 / 9
    series = r2 * series + 1 / 7
    series = r2 * series + 1 / 5
    series = r2 * series + 1 / 3
    series = r2 * series + 1.0
    return tl.maximum(x, 0.0) + 2.0 * r * series, tl.where(x < 0, e, 1.0) / (1.0 + e)
