"""The causal depthwise convolution with SiLU on a GPU, in Triton; `forward` and `backward` are called as in `native`.

    s_t = bias + sum_k weight[k] x_{t-(K-1)+k} ;  y_t = s_t sigmoid(s_t)

A program has a tile of ROWS tokens and CHANNELS channels and reads it K times, shifted: once from memory, then from
the first-level cache. Backward is two kernels: one for the gradient of s and partial sums of those of weight and bias;
one for the gradient of x, which is the convolution in the other direction without activation. This is simple, and moves
14 bytes a value in bfloat16 where one kernel would move 6; the scan beside it takes about ten times as long.

Shapes: B batch, L tokens, D channels, K taps, X tiles of tokens of all samples.
"""

# Triton's language is not Python's types.
# pyright: reportGeneralTypeIssues=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from bakeoff.ops.tensors import dense_like, rows
from bakeoff.ops.triton_math import sigmoid, silu_slope

ROWS, CHANNELS, WARPS = 32, 64, 4


@triton.jit
def _tile(L, D, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """This program's number among the tiles of tokens, its sample, tokens and channels."""
    channel_tiles, row_tiles = tl.cdiv(D, CHANNELS), tl.cdiv(L, ROWS)
    tile = tl.program_id(0) // channel_tiles
    t = (tile % row_tiles) * ROWS + tl.arange(0, ROWS)
    d = (tl.program_id(0) % channel_tiles) * CHANNELS + tl.arange(0, CHANNELS)
    return tile.to(tl.int64), (tile // row_tiles).to(tl.int64), t, d


@triton.jit
def _shifted(x, x_t, t, d, L, D, k, K: tl.constexpr, REVERSE: tl.constexpr):
    """The token that tap k multiplies at t; 0 outside the sequence."""
    at = t + (K - 1 - k) if REVERSE else t - (K - 1 - k)
    inside = ((at >= 0) & (at < L))[:, None] & (d < D)[None, :]
    return tl.load(x + at[:, None] * x_t + d[None, :], inside, 0.0).to(tl.float32)


@triton.jit
def _sums(x, weight, bias, x_t, t, d, L, D, K: tl.constexpr, REVERSE: tl.constexpr):
    """s, in float32."""
    s = tl.zeros([t.shape[0], d.shape[0]], tl.float32)
    if bias is not None:
        s += tl.load(bias + d, d < D, 0.0)[None, :]
    for k in tl.static_range(K):
        s += _shifted(x, x_t, t, d, L, D, k, K, REVERSE) * tl.load(weight + d * K + k, d < D, 0.0)[None, :]
    return s


@triton.jit
def forward_kernel(
    x,
    weight,
    bias,
    y,
    L,
    D,
    x_b,
    x_t,
    K: tl.constexpr,
    SILU: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    _, b, t, d = _tile(L, D, ROWS, CHANNELS)
    s = _sums(x + b * x_b, weight, bias, x_t, t, d, L, D, K, REVERSE)
    if SILU:
        s *= sigmoid(s)
    tl.store(y + (b * L + t[:, None]) * D + d[None, :], s, (t < L)[:, None] & (d < D)[None, :])


@triton.jit
def backward_kernel(
    x,
    weight,
    bias,
    dy,
    ds,
    dweight,
    dbias,
    L,
    D,
    x_b,
    x_t,
    dy_b,
    dy_t,
    K: tl.constexpr,
    SILU: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    tile, b, t, d = _tile(L, D, ROWS, CHANNELS)
    inside = (t < L)[:, None] & (d < D)[None, :]
    x += b * x_b
    grad = tl.load(dy + b * dy_b + t[:, None] * dy_t + d[None, :], inside, 0.0).to(tl.float32)
    if SILU:
        s = _sums(x, weight, bias, x_t, t, d, L, D, K, REVERSE)
        grad = tl.where(inside, grad * silu_slope(s, sigmoid(s)), 0.0)
    tl.store(ds + (b * L + t[:, None]) * D + d[None, :], grad, inside)
    for k in tl.static_range(K):
        taps = tl.sum(grad * _shifted(x, x_t, t, d, L, D, k, K, REVERSE), 0)
        tl.store(dweight + (tile * D + d) * K + k, taps, d < D)
    if dbias is not None:
        tl.store(dbias + tile * D + d, tl.sum(grad, 0), d < D)


def _grid(x_BLD: Tensor) -> tuple[int]:
    B, L, D = x_BLD.shape
    return (B * triton.cdiv(L, ROWS) * triton.cdiv(D, CHANNELS),)


def _options(weight_DK: Tensor, silu: bool, reverse: bool) -> dict:
    taps = weight_DK.shape[1]
    return {"K": taps, "SILU": silu, "REVERSE": reverse, "ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS}


def forward(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    y_BLD = dense_like(x_BLD)
    _convolve(x_BLD, weight_DK, bias_D, silu, reverse, y_BLD)
    return y_BLD


def _convolve(
    x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool, y_BLD: Tensor
) -> None:
    _, L, D = x_BLD.shape
    if len(x_BLD):
        strides = x_BLD.stride(0), x_BLD.stride(1)
        with torch.cuda.device_of(x_BLD):
            forward_kernel[_grid(x_BLD)](
                x_BLD, weight_DK, bias_D, y_BLD, L, D, *strides, **_options(weight_DK, silu, reverse)
            )


def backward(
    x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool, dy_BLD: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of x, weight and bias."""
    dy_BLD = rows(dy_BLD)
    B, L, D = x_BLD.shape
    ds_BLD = x_BLD.new_empty(B, L, D, dtype=torch.float32)
    dx_BLD = dense_like(x_BLD)
    tiles = B * triton.cdiv(L, ROWS)
    dweight_XDK = weight_DK.new_empty(tiles, *weight_DK.shape)
    dbias_XD = None if bias_D is None else bias_D.new_empty(tiles, D)
    if B:
        strides = x_BLD.stride(0), x_BLD.stride(1), dy_BLD.stride(0), dy_BLD.stride(1)
        with torch.cuda.device_of(x_BLD):
            backward_kernel[_grid(x_BLD)](
                *(x_BLD, weight_DK, bias_D, dy_BLD, ds_BLD, dweight_XDK, dbias_XD, L, D, *strides),
                **_options(weight_DK, silu, reverse),
            )
    _convolve(ds_BLD, weight_DK, None, False, not reverse, dx_BLD)
    return dx_BLD, dweight_XDK.sum(0), None if dbias_XD is None else dbias_XD.sum(0)
