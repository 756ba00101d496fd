"""The scan registered with torch.library, for torch.compile, fake tensors and FLOP counting."""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula

from bakeoff.ops.library import DEVICES, no_second_derivatives, or_empty, or_none
from bakeoff.ops.selective_scan import launch
from bakeoff.ops.selective_scan.inputs import ScanInputs
from bakeoff.ops.tensors import dense_like


def scan(*arguments: Any) -> tuple[Tensor, Tensor | None]:
    """y_BLD, and the final state if wanted, through the registered operator, whose arguments it takes."""
    y_BLD, final_BDN, *_ = selective_scan(*arguments)
    return y_BLD, final_BDN if arguments[-1] else None


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
    y, *rest = launch.kernels(u).forward(x, dt_softplus, reverse, want_final, True)
    final, states, ungated = (or_empty(t, A) for t in rest)
    return y, final, states, ungated


@selective_scan.register_fake
def _(u, dt, A, B, C, D, z, dt_bias, initial, dt_softplus, reverse, want_final):
    batch, _, channels = u.shape
    N = A.shape[1]
    states, ungated = launch.kernels(u).saved(ScanInputs(u, dt, A, B, C, D, z, dt_bias, initial))
    return (
        dense_like(u),
        A.new_empty((batch, channels, N) if want_final else 0),
        states,
        or_empty(ungated, A),
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
    saved = states, or_none(ungated)
    grads = launch.kernels(u).backward(x, dt_softplus, reverse, *saved, dy, or_none(dfinal))
    return tuple(or_empty(g, A) for g in grads)  # type: ignore[return-value]


@selective_scan_backward.register_fake
def _(u, dt, A, B, C, D, z, dt_bias, initial, dt_softplus, reverse, states, ungated, dy, dfinal):
    inputs = (u, dt, A, B, C, D, z, dt_bias, initial)
    return tuple(A.new_empty(0) if x is None else dense_like(x) for x in inputs)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, dt_softplus, reverse, _ = inputs
    ctx.save_for_backward(*tensors, *output[2:])
    ctx.flags = dt_softplus, reverse
    ctx.mark_non_differentiable(*output[2:])


def _gradients(ctx: Any, dy: Tensor, dfinal: Tensor, *_: Any) -> tuple:
    *tensors, states, ungated = ctx.saved_tensors
    grads = selective_scan_backward(*tensors, *ctx.flags, states, ungated, dy, dfinal)
    return *(None if x is None else g for x, g in zip(tensors, grads, strict=True)), None, None, None


selective_scan.register_autograd(_gradients, setup_context=_save)
selective_scan_backward.register_autograd(no_second_derivatives("selective_scan"))


# FLOPs: about nine per token, channel and state [Gu & Dao 2023]; backward counts as twice forward, as it does for
# other operators.
@register_flop_formula(torch.ops.bakeoff.selective_scan)
def _(u_shape, dt_shape, A_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = u_shape
    return 9 * batch * L * channels * A_shape[1]


@register_flop_formula(torch.ops.bakeoff.selective_scan_backward)
def _(u_shape, dt_shape, A_shape, *_: Any, **__: Any) -> int:
    batch, L, channels = u_shape
    return 18 * batch * L * channels * A_shape[1]
