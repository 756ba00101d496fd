"""The operations registered with torch.library, for torch.compile, fake tensors and FLOP counting.

Operators cannot return None: a tensor of no elements stands for an absent one. Backward is an operator of its
own, for one that called its kernels inside a registered backward could not be traced.

Shapes: B batch, L tokens, D channels, N states, K taps, C chunks of tokens, P padded states.
"""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula

from bakeoff.ops import kernels, launch
from bakeoff.ops.kernels import ScanInputs

DEVICES = ("cpu", "cuda")


def scan(*arguments: Any) -> tuple[Tensor, Tensor | None]:
    """y_BLD, and the final state if wanted, through the registered operator, whose arguments it takes."""
    y_BLD, final_BDN, *_ = selective_scan(*arguments)
    return y_BLD, final_BDN if arguments[-1] else None


def _or_empty(x: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if x is None else x


def _dense_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _or_none(x: Tensor) -> Tensor | None:
    return x if x.numel() else None


@custom_op("bakeoff::selective_scan", mutates_args=(), device_types=DEVICES)
def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
    want_final: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the final state, and for backward the states before each chunk and y before the gate."""
    x = ScanInputs(u, dt, A, B, C, D, z, dt_bias, initial)
    y, *rest = launch.scan(u).forward(x, dt_softplus, reverse, want_final, True)
    final, states, ungated = (_or_empty(t, A) for t in rest)
    return y, final, states, ungated


@selective_scan.register_fake
def _(u, dt, A, B, C, D, z, dt_bias, initial, dt_softplus, reverse, want_final):
    batch, _, channels = u.shape
    N = A.shape[1]
    states, ungated = launch.scan(u).saved(ScanInputs(u, dt, A, B, C, D, z, dt_bias, initial))
    return (
        _dense_like(u),
        A.new_empty((batch, channels, N) if want_final else 0),
        states,
        _or_empty(ungated, A),
    )


@custom_op("bakeoff::selective_scan_backward", mutates_args=(), device_types=DEVICES)
def selective_scan_backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
    states: Tensor,
    ungated: Tensor,
    dy: Tensor,
    dfinal: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the first nine arguments."""
    x = ScanInputs(u, dt, A, B, C, D, z, dt_bias, initial)
    saved = states, _or_none(ungated)
    grads = launch.scan(u).backward(x, dt_softplus, reverse, *saved, dy, _or_none(dfinal))
    return tuple(_or_empty(g, A) for g in grads)  # type: ignore[return-value]


@selective_scan_backward.register_fake
def _(u, dt, A, B, C, D, z, dt_bias, initial, dt_softplus, reverse, states, ungated, dy, dfinal):
    inputs = (u, dt, A, B, C, D, z, dt_bias, initial)
    return tuple(A.new_empty(0) if x is None else _dense_like(x) for x in inputs)


def _save_scan(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, dt_softplus, reverse, _ = inputs
    ctx.save_for_backward(*tensors, *output[2:])
    ctx.flags = dt_softplus, reverse
    ctx.mark_non_differentiable(*output[2:])


def _scan_gradients(ctx: Any, dy: Tensor, dfinal: Tensor, *_: Any) -> tuple:
    *tensors, states, ungated = ctx.saved_tensors
    grads = selective_scan_backward(*tensors, *ctx.flags, states, ungated, dy, dfinal)
    return *(None if x is None else g for x, g in zip(tensors, grads, strict=True)), None, None, None


selective_scan.register_autograd(_scan_gradients, setup_context=_save_scan)


@custom_op("bakeoff::causal_conv", mutates_args=(), device_types=DEVICES)
def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    return launch.conv(x).forward(x, weight, bias, silu, reverse)


@causal_conv.register_fake
def _(x, weight, bias, silu, reverse):
    return _dense_like(x)


@custom_op("bakeoff::causal_conv_backward", mutates_args=(), device_types=DEVICES)
def causal_conv_backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias."""
    dx, dweight, dbias = launch.conv(x).backward(x, weight, bias, silu, reverse, dy)
    return dx, dweight, _or_empty(dbias, weight)


@causal_conv_backward.register_fake
def _(x, weight, bias, silu, reverse, dy):
    return _dense_like(x), torch.empty_like(weight), weight.new_empty(0 if bias is None else bias.shape)


def _save_conv(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, silu, reverse = inputs
    ctx.save_for_backward(*tensors)
    ctx.flags = silu, reverse


def _conv_gradients(ctx: Any, dy: Tensor) -> tuple:
    x, weight, bias = ctx.saved_tensors
    dx, dweight, dbias = causal_conv_backward(x, weight, bias, *ctx.flags, dy)
    return dx, dweight, None if bias is None else dbias, None, None


causal_conv.register_autograd(_conv_gradients, setup_context=_save_conv)


def _no_second_derivatives(name: str) -> Any:
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(kernels.NO_SECOND_DERIVATIVES.format(name))

    return backward


selective_scan_backward.register_autograd(_no_second_derivatives("selective_scan"))
causal_conv_backward.register_autograd(_no_second_derivatives("causal_conv"))


# FLOPs: per token, channel and state about nine for the scan [Gu & Dao 2023]; backward counted as twice
# forward, as for other operators. The convolution has two per tap.
@register_flop_formula(torch.ops.bakeoff.selective_scan)
def _(u_shape, dt_shape, A_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = u_shape
    return 9 * batch * L * channels * A_shape[1]


@register_flop_formula(torch.ops.bakeoff.selective_scan_backward)
def _(u_shape, dt_shape, A_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = u_shape
    return 18 * batch * L * channels * A_shape[1]


@register_flop_formula(torch.ops.bakeoff.causal_conv)
def _(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = x_shape
    return 2 * batch * L * channels * weight_shape[1]


@register_flop_formula(torch.ops.bakeoff.causal_conv_backward)
def _(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = x_shape
    return 4 * batch * L * channels * weight_shape[1]
