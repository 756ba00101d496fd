"""Queries and keys of every head, from those of its group: with the head's bias, and turned by its angles.

Shapes: B batch, L tokens, G groups, H heads, R ranks, N states, S angles.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, refused
from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.fused.serving import serves
from bakeoff.ops.tensors import address, dense_on_cpu, optional, parameter, sequence, view


def turned_pair(
    q_BLGRN: Tensor, k_BLGRN: Tensor, q_bias_HRN: Tensor | None, k_bias_HRN: Tensor | None, angle_BLHS: Tensor
) -> tuple[Tensor, Tensor]:
    """q and k of each head, (B, L, H, R, N) in their own dtype.

        (a, b) -> (a cos - b sin, a sin + b cos) for the channels 2i and 2i + 1 of x + bias, i < S

    Args:
        q_BLGRN, k_BLGRN: each group's.
        q_bias_HRN, k_bias_HRN: each head's, if there are any.
        angle_BLHS: each head's, at least 0 and below 2 pi, 2 S <= N; S = 0 turns nothing.
    """
    if serves(q_BLGRN, k_BLGRN, q_bias_HRN, k_bias_HRN, angle_BLHS):
        x = sequence(q_BLGRN), sequence(k_BLGRN), optional(parameter, q_bias_HRN), optional(parameter, k_bias_HRN)
        q, k = _Turn.apply(*x, parameter(angle_BLHS))
        return q.to(q_BLGRN.dtype), k.to(k_BLGRN.dtype)
    return turned(q_BLGRN, q_bias_HRN, angle_BLHS), turned(k_BLGRN, k_bias_HRN, angle_BLHS)


def turned(x_GRN: Tensor, bias_HRN: Tensor | None, angle_HS: Tensor) -> Tensor:
    """The same for one of the two, in plain PyTorch and for any leading axes."""
    x = x_GRN.repeat_interleave(angle_HS.shape[-2] // x_GRN.shape[-3], -3)
    return rotated_pairs(x if bias_HRN is None else (x + bias_HRN).to(x.dtype), angle_HS.unsqueeze(-2))


def rotated_pairs(x: Tensor, angle: Tensor) -> Tensor:
    """The first S pairs of channels (2i, 2i + 1) of (..., N), each turned by its angle (..., S)."""
    S = angle.shape[-1]
    if not S:
        return x
    pairs = x[..., : 2 * S].unflatten(-1, (S, 2))
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = pairs.unbind(-1)
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
    return torch.cat([turned, x[..., 2 * S :]], -1)


def _arguments(G: int, turned_BLHRN: Tensor, angle_BLHS: Tensor) -> tuple:
    B, L, H, R, N = turned_BLHRN.shape
    return (B, L, G, H, R, N, angle_BLHS.shape[-1]), address(angle_BLHS), torch.get_num_threads()


class _Turn(Function):
    jvp = refused(NO_FORWARD_MODE, "turned_pair")

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, q_bias: Tensor | None, k_bias: Tensor | None, angle: Tensor) -> Any:
        assert NATIVE is not None
        B, L, G, R, N = q.shape
        q_turned, k_turned = (torch.empty(B, L, angle.shape[2], R, N) for _ in range(2))
        biases = address(q_bias), address(k_bias)
        NATIVE.turn_forward(_arguments(G, q_turned, angle), view(q), view(k), *biases, view(q_turned), view(k_turned))
        # not q and k: backward needs what came of them
        ctx.save_for_backward(q_turned, k_turned, q_bias, k_bias, angle)
        ctx.given = G, q.dtype, k.dtype
        return q_turned, k_turned

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _TurnBackward.apply(*ctx.given, *grads, *ctx.saved_tensors)


class _TurnBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "turned_pair")

    @staticmethod
    def forward(
        ctx: Any,
        G: int,
        q_dtype: torch.dtype,
        k_dtype: torch.dtype,
        dq_turned: Tensor,
        dk_turned: Tensor,
        q_turned: Tensor,
        k_turned: Tensor,
        q_bias: Tensor | None,
        k_bias: Tensor | None,
        angle: Tensor,
    ) -> tuple[Tensor | None, ...]:
        assert NATIVE is not None
        dq_turned, dk_turned = sequence(dq_turned), sequence(dk_turned)
        B, L, _, R, N = q_turned.shape
        dq, dk = (torch.empty(B, L, G, R, N, dtype=dtype) for dtype in (q_dtype, k_dtype))
        dq_bias, dk_bias, dangle = (optional(dense_on_cpu, x) for x in (q_bias, k_bias, angle))
        sequences = (view(x) for x in (q_turned, k_turned, dq_turned, dk_turned, dq, dk))
        sums = (address(x) for x in (dq_bias, dk_bias, dangle))
        NATIVE.turn_backward(_arguments(G, q_turned, angle), *sequences, *sums)
        return dq, dk, dq_bias, dk_bias, dangle
