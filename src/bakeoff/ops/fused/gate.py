"""What stands behind the scan of Mamba-2 and -3: the skip, the gate, the sum over ranks, the norm.

Shapes: B batch, L tokens, H heads, R ranks, P channels a head, E = H P.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, refused
from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.fused.serving import serves
from bakeoff.ops.tensors import address, dense_on_cpu, optional, parameter, sequence, view, working_dtype


class Scales(NamedTuple):
    """What a rank multiplies values, gates and results with."""

    in_HRP: Tensor
    by_HRP: Tensor
    of_HRP: Tensor


class Norm(NamedTuple):
    """RMSNorm over each of the groups of channels by itself."""

    weight_E: Tensor
    groups: int
    eps: float


def gated(
    y_HRP: Tensor,
    z_HP: Tensor,
    *,
    skip: tuple[Tensor, Tensor] | None = None,
    scales: Scales | None = None,
    norm: Norm | None = None,
) -> Tensor:
    """The skip, the gate, the sum over ranks and the norm, in float32.

        s_r = y_r + D in_r x ;  out = norm(sum_r of_r s_r silu(by_r z))

    Args:
        y_HRP: (..., H, R, P), what the scan gives; the kernels take it with axes B and L.
        z_HP: (..., H, P), before the gate's SiLU.
        skip: D (H) and x (..., H, P), if there is a skip.
        scales: of each rank; all 1 if absent.
        norm: if there is one.

    Returns:
        (..., E) in y's dtype.
    """
    D_H, x_HP = skip or (None, None)
    weight_E = None if norm is None else norm.weight_E
    if y_HRP.dim() == 5 and serves(y_HRP, x_HP, z_HP, D_H, *(scales or ()), weight_E):
        tensors = _Tensors(
            sequence(y_HRP),
            optional(sequence, x_HP),
            sequence(z_HP),
            *(optional(parameter, one) for one in (D_H, *(scales or (None,) * 3), weight_E)),
        )
        groups, eps = (1, 0.0) if norm is None else (norm.groups, norm.eps)
        return _Gate.apply(groups, eps, *tensors).to(y_HRP.dtype)
    return _plain(y_HRP, x_HP, z_HP, D_H, scales, norm)


def _plain(
    y: Tensor, x: Tensor | None, z: Tensor, D_H: Tensor | None, scales: Scales | None, norm: Norm | None
) -> Tensor:
    dtype = working_dtype(y)
    state, gate = y.to(dtype), z.to(dtype).unsqueeze(-2)
    if x is not None and D_H is not None:
        added = D_H[:, None, None] * x.to(dtype).unsqueeze(-2)
        state = state + (added if scales is None else added * scales.in_HRP)
    open_ = F.silu(gate if scales is None else gate * scales.by_HRP)
    out = (state * open_ if scales is None else scales.of_HRP * (state * open_)).sum(-2).flatten(-2)
    if norm is not None:
        groups = out.unflatten(-1, (norm.groups, -1))
        out = F.rms_norm(groups, groups.shape[-1:], eps=norm.eps).flatten(-2) * norm.weight_E
    return out.to(y.dtype)


class _Tensors(NamedTuple):
    y_BLHRP: Tensor
    x_BLHP: Tensor | None
    z_BLHP: Tensor
    D_H: Tensor | None
    in_HRP: Tensor | None
    by_HRP: Tensor | None
    of_HRP: Tensor | None
    weight_E: Tensor | None


def _arguments(given: _Tensors, groups: int, eps: float) -> tuple:
    skip, *scales, norm = (address(x) for x in given[3:])
    views = (view(x) for x in given[:3])
    return tuple(given.y_BLHRP.shape), groups, eps, *views, skip, tuple(scales), norm, torch.get_num_threads()


class _Gate(Function):
    jvp = refused(NO_FORWARD_MODE, "gated")

    @staticmethod
    def forward(ctx: Any, groups: int, eps: float, *tensors: Tensor | None) -> Tensor:
        assert NATIVE is not None
        given = _Tensors(*tensors)  # pyright: ignore[reportArgumentType]
        ctx.save_for_backward(*tensors)
        ctx.options = groups, eps
        B, L, H, _, P = given.y_BLHRP.shape
        out_BLE = torch.empty(B, L, H * P, dtype=given.y_BLHRP.dtype)
        NATIVE.gate_forward(_arguments(given, groups, eps), view(out_BLE))
        return out_BLE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_GateBackward.apply(*ctx.options, *grads, *ctx.saved_tensors)


class _GateBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "gated")

    @staticmethod
    def forward(
        ctx: Any, groups: int, eps: float, dout_BLE: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        assert NATIVE is not None
        given = _Tensors(*tensors)  # pyright: ignore[reportArgumentType]
        grads = _Tensors(*(optional(dense_on_cpu, x) for x in given))  # pyright: ignore[reportArgumentType]
        dout_BLE = sequence(dout_BLE)
        skip, *scales, norm = (address(x) for x in grads[3:])
        views = (view(x) for x in grads[:3])
        NATIVE.gate_backward(_arguments(given, groups, eps), view(dout_BLE), *views, skip, tuple(scales), norm)
        return tuple(grads)
