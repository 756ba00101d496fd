"""The values of each rank of Mamba-3.

Shapes: B batch, L tokens, H heads, R ranks, P channels a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, refused
from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.fused.serving import serves
from bakeoff.ops.tensors import address, dense_on_cpu, parameter, sequence, view


def ranked(x_HP: Tensor, scale_HRP: Tensor) -> Tensor:
    """scale_r x, (..., H, R, P) in x's dtype, from (..., H, P) and (H, R, P); the kernels take x with axes B and L."""
    if x_HP.dim() == 4 and serves(x_HP, scale_HRP):
        return _Ranks.apply(sequence(x_HP), parameter(scale_HRP)).to(x_HP.dtype)
    return (x_HP.unsqueeze(-2) * scale_HRP).to(x_HP.dtype)


def _arguments(x_BLHP: Tensor, scale_HRP: Tensor) -> tuple:
    B, L, H, P = x_BLHP.shape
    return (B, L, H, scale_HRP.shape[1], P), view(x_BLHP), address(scale_HRP), torch.get_num_threads()


class _Ranks(Function):
    jvp = refused(NO_FORWARD_MODE, "ranked")

    @staticmethod
    def forward(ctx: Any, x_BLHP: Tensor, scale_HRP: Tensor) -> Tensor:
        assert NATIVE is not None
        ctx.save_for_backward(x_BLHP, scale_HRP)
        v_BLHRP = torch.empty(*x_BLHP.shape[:2], *scale_HRP.shape, dtype=x_BLHP.dtype)
        NATIVE.ranks_forward(_arguments(x_BLHP, scale_HRP), view(v_BLHRP))
        return v_BLHRP

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return _RanksBackward.apply(*grads, *ctx.saved_tensors)


class _RanksBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "ranked")

    @staticmethod
    def forward(ctx: Any, dv_BLHRP: Tensor, x_BLHP: Tensor, scale_HRP: Tensor) -> tuple[Tensor, Tensor]:
        assert NATIVE is not None
        dv_BLHRP, dx_BLHP, dscale_HRP = sequence(dv_BLHRP), dense_on_cpu(x_BLHP), dense_on_cpu(scale_HRP)
        NATIVE.ranks_backward(_arguments(x_BLHP, scale_HRP), view(dv_BLHRP), view(dx_BLHP), address(dscale_HRP))
        return dx_BLHP, dscale_HRP
