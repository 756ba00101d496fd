"""The state space dual form registered with torch.library, for torch.compile, fake tensors and FLOP counting."""

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula

from bakeoff.ops.library import DEVICES, no_second_derivatives, or_empty, or_none
from bakeoff.ops.ssd import launch
from bakeoff.ops.ssd.inputs import SsdInputs
from bakeoff.ops.tensors import dense_like


def dual(*arguments: Any) -> tuple[Tensor, Tensor | None]:
    """y, and the final state if wanted, through the registered operator, whose arguments it takes."""
    y, final, _ = ssd(*arguments)
    return y, final if arguments[-1] else None


@custom_op("bakeoff::ssd", mutates_args=(), device_types=DEVICES)
def ssd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    w: Tensor,
    g: Tensor,
    initial: Tensor | None,
    reverse: bool,
    want_final: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the final state, and for backward the states before each chunk."""
    x = SsdInputs(q, k, v, log_decay, w, g, initial)
    y, final, states = launch.kernels(v).forward(x, reverse, want_final, True)
    assert states is not None
    return y, or_empty(final, w), states


@ssd.register_fake
def _(q, k, v, log_decay, w, g, initial, reverse, want_final):
    batch, _, heads, _, P = v.shape
    states = launch.kernels(v).saved(SsdInputs(q, k, v, log_decay, w, g, initial))
    return dense_like(v), w.new_empty((batch, heads, P, q.shape[-1]) if want_final else 0), states


@custom_op("bakeoff::ssd_backward", mutates_args=(), device_types=DEVICES)
def ssd_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    w: Tensor,
    g: Tensor,
    initial: Tensor | None,
    reverse: bool,
    states: Tensor,
    dy: Tensor,
    dfinal: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the first seven arguments."""
    x = SsdInputs(q, k, v, log_decay, w, g, initial)
    grads = launch.kernels(v).backward(x, reverse, states, dy, or_none(dfinal))
    return tuple(or_empty(grad, w) for grad in grads)  # type: ignore[return-value]


@ssd_backward.register_fake
def _(q, k, v, log_decay, w, g, initial, reverse, states, dy, dfinal):
    inputs = (q, k, v, log_decay, w, g, initial)
    return tuple(w.new_empty(0) if x is None else dense_like(x) for x in inputs)


def _save(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, reverse, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.reverse = reverse
    ctx.mark_non_differentiable(output[2])


def _gradients(ctx: Any, dy: Tensor, dfinal: Tensor, _: Any) -> tuple:
    *tensors, states = ctx.saved_tensors
    grads = ssd_backward(*tensors, ctx.reverse, states, dy, dfinal)
    return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None, None


ssd.register_autograd(_gradients, setup_context=_save)
ssd_backward.register_autograd(no_second_derivatives("ssd"))


# FLOPs of the recurrence, per token, head and rank: five per state and channel for one rank [mamba2.py], and two more
# products of a vector by the state for every further rank; backward counts as twice forward, as it does for other
# operators.
def _flops(q_shape: Any, v_shape: Any) -> int:
    batch, L, heads, R, P = v_shape
    return (1 + 4 * R) * batch * L * heads * P * q_shape[-1]


@register_flop_formula(torch.ops.bakeoff.ssd)
def _(q_shape, k_shape, v_shape, *_: Any, **__: Any) -> int:
    return _flops(q_shape, v_shape)


@register_flop_formula(torch.ops.bakeoff.ssd_backward)
def _(q_shape, k_shape, v_shape, *_: Any, **__: Any) -> int:
    return 2 * _flops(q_shape, v_shape)
