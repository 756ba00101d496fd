"""Queries or keys of attention on their way to the scores: each head's RMSNorm, then the turn by the token's place.

Shapes: B batch, L tokens, H heads, P channels a head, I = P / 2 pairs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, refused
from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.fused.serving import serves
from bakeoff.ops.tensors import address, dense_on_cpu, optional, parameter, sequence, view


def normed_heads(x_BLHP: Tensor, weight_P: Tensor | None, turns: tuple[Tensor, Tensor] | None, eps: float) -> Tensor:
    """(B, L, H, P) in x's dtype, in float32 between.

        n = x weight / sqrt(mean x^2 + eps) ;  (a, b) -> (a cos - b sin, a sin + b cos) for channels i and i + P/2 of n

    Args:
        weight_P: of the norm; without one, n = x.
        turns: cosines and sines of each token's angles, (L, I) each, without gradients; without them n is the result.

    Source: Dehghani et al. 2023, with RMSNorm as in Qwen3; Su et al. 2021.
    """
    cosines_LI, sines_LI = turns or (None, None)
    if serves(x_BLHP, weight_P, cosines_LI, sines_LI):
        of_all = (optional(parameter, one) for one in (weight_P, cosines_LI, sines_LI))
        return _Heads.apply(eps, sequence(x_BLHP), *of_all).to(x_BLHP.dtype)
    x = x_BLHP
    if weight_P is not None:
        x = F.rms_norm(x.float(), x.shape[-1:], weight_P, eps).to(x.dtype)
    if cosines_LI is None or sines_LI is None:
        return x
    return rotated_halves(x, cosines_LI.unsqueeze(1), sines_LI.unsqueeze(1))


def rotated_halves(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Pairs of channels i and i + P/2 of (..., P), turned; cosines and sines (..., I) broadcast with them."""
    cos, sin = cosines.to(x.dtype), sines.to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _arguments(eps: float, x: Tensor, weight: Tensor | None, cosines: Tensor | None, sines: Tensor | None) -> tuple:
    of_all = (address(one) for one in (weight, cosines, sines))
    return tuple(x.shape), eps, view(x), *of_all, torch.get_num_threads()


class _Heads(Function):
    jvp = refused(NO_FORWARD_MODE, "normed_heads")

    @staticmethod
    def forward(ctx: Any, eps: float, x_BLHP: Tensor, *of_all: Tensor | None) -> Tensor:
        assert NATIVE is not None
        ctx.save_for_backward(x_BLHP, *of_all)
        ctx.eps = eps
        out_BLHP = dense_on_cpu(x_BLHP)
        NATIVE.heads_forward(_arguments(eps, x_BLHP, *of_all), view(out_BLHP))  # pyright: ignore[reportArgumentType]
        return out_BLHP

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_HeadsBackward.apply(ctx.eps, *grads, *ctx.saved_tensors), None, None


class _HeadsBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "normed_heads")

    @staticmethod
    def forward(
        ctx: Any, eps: float, dout_BLHP: Tensor, x_BLHP: Tensor, weight_P: Tensor | None, *turns: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        assert NATIVE is not None
        dout_BLHP, dx_BLHP, dweight_P = sequence(dout_BLHP), dense_on_cpu(x_BLHP), optional(dense_on_cpu, weight_P)
        given = _arguments(eps, x_BLHP, weight_P, *turns)  # pyright: ignore[reportArgumentType]
        NATIVE.heads_backward(given, view(dout_BLHP), view(dx_BLHP), address(dweight_P))
        return dx_BLHP, dweight_P
