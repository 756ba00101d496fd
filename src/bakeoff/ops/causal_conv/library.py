"""The convolution registered with torch.library, for torch.compile, fake tensors and FLOP counting."""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula

from bakeoff.ops.causal_conv import launch
from bakeoff.ops.library import DEVICES, no_second_derivatives, or_empty
from bakeoff.ops.tensors import dense_like


@custom_op("bakeoff::causal_conv", mutates_args=(), device_types=DEVICES)
def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    return launch.kernels(x).forward(x, weight, bias, silu, reverse)


@causal_conv.register_fake
def _(x, weight, bias, silu, reverse):
    return dense_like(x)


@custom_op("bakeoff::causal_conv_backward", mutates_args=(), device_types=DEVICES)
def causal_conv_backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, reverse: bool, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias."""
    dx, dweight, dbias = launch.kernels(x).backward(x, weight, bias, silu, reverse, dy)
    return dx, dweight, or_empty(dbias, weight)


@causal_conv_backward.register_fake
def _(x, weight, bias, silu, reverse, dy):
    return dense_like(x), torch.empty_like(weight), weight.new_empty(0 if bias is None else bias.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, silu, reverse = inputs
    ctx.save_for_backward(*tensors)
    ctx.flags = silu, reverse


def _gradients(ctx: Any, dy: Tensor) -> tuple:
    x, weight, bias = ctx.saved_tensors
    dx, dweight, dbias = causal_conv_backward(x, weight, bias, *ctx.flags, dy)
    return dx, dweight, None if bias is None else dbias, None, None


causal_conv.register_autograd(_gradients, setup_context=_save)
causal_conv_backward.register_autograd(no_second_derivatives("causal_conv"))


# FLOPs: two per token, channel and tap; backward counts as twice forward, as it does for other operators.
@register_flop_formula(torch.ops.bakeoff.causal_conv)
def _(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = x_shape
    return 2 * batch * L * channels * weight_shape[1]


@register_flop_formula(torch.ops.bakeoff.causal_conv_backward)
def _(x_shape, weight_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = x_shape
    return 4 * batch * L * channels * weight_shape[1]
