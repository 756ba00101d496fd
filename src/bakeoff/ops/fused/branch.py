"""What stands around a mixer in its branch: the norm with the condition's factor and shift, and the gated sum.

Shapes: B batch, L tokens, D channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, refused
from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.fused.serving import serves
from bakeoff.ops.tensors import address, dense_on_cpu, optional, sequence, view


def normed(x_BLD: Tensor, factor_B1D: Tensor, shift_B1D: Tensor | None, *, centred: bool, eps: float) -> Tensor:
    """n factor + shift, n the channels of a token over their root mean square, or if centred over their deviation
    after their mean is taken off.

    Args:
        x_BLD, factor_B1D, shift_B1D: the last two are each item's own; a shift may be absent.
        eps: added to the mean square.

    Returns:
        (B, L, D) in the dtype to which the tensors promote.

    Source: layer norm, Ba et al. 2016; RMSNorm, Zhang and Sennrich 2019; the modulation, DiT, Peebles and Xie 2023.
    """
    given = (x_BLD, factor_B1D) if shift_B1D is None else (x_BLD, factor_B1D, shift_B1D)
    if x_BLD.dim() == 3 and serves(*given):
        dtype = _promoted(*given)
        shift_B1D = optional(sequence, shift_B1D)
        return _Norm.apply(centred, eps, dtype, sequence(x_BLD), sequence(factor_B1D), shift_B1D).to(dtype)
    D = x_BLD.shape[-1:]
    scaled = (F.layer_norm(x_BLD, D, eps=eps) if centred else F.rms_norm(x_BLD, D, eps=eps)) * factor_B1D
    return scaled if shift_B1D is None else scaled + shift_B1D


def gated_sum(x_BLD: Tensor, gate_B1D: Tensor, y_BLD: Tensor) -> Tensor:
    """x + gate y, the gate each item's own, in the dtype to which the tensors promote."""
    if x_BLD.dim() == 3 and serves(x_BLD, gate_B1D, y_BLD):
        dtype = _promoted(x_BLD, gate_B1D, y_BLD)
        return _Sum.apply(dtype, sequence(x_BLD), sequence(gate_B1D), sequence(y_BLD)).to(dtype)
    return x_BLD + gate_B1D * y_BLD


def _promoted(first: Tensor, *others: Tensor) -> torch.dtype:
    dtype = first.dtype
    for one in others:
        dtype = torch.promote_types(dtype, one.dtype)
    return dtype


def _result(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Of the dtypes that the kernels write."""
    return torch.empty(like.shape, dtype=dtype if dtype in (torch.float32, torch.bfloat16) else torch.float32)


def _own_sums(x_B1D: Tensor) -> Tensor:
    return torch.empty(x_B1D.shape, dtype=torch.float32)


def _norm(x: Tensor, factor: Tensor, centred: bool, eps: float) -> tuple:
    return tuple(x.shape), centred, eps, view(x), view(factor), torch.get_num_threads()


class _Norm(Function):
    jvp = refused(NO_FORWARD_MODE, "normed")

    @staticmethod
    def forward(
        ctx: Any, centred: bool, eps: float, dtype: torch.dtype, x: Tensor, factor: Tensor, shift: Tensor | None
    ) -> Tensor:
        assert NATIVE is not None
        ctx.save_for_backward(x, factor, shift)
        ctx.options = centred, eps
        out = _result(x, dtype)
        NATIVE.norm_forward(_norm(x, factor, centred, eps), view(shift), view(out))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *_NormBackward.apply(*ctx.options, *grads, *ctx.saved_tensors)


class _NormBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "normed")

    @staticmethod
    def forward(
        ctx: Any, centred: bool, eps: float, dout: Tensor, x: Tensor, factor: Tensor, shift: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        assert NATIVE is not None
        dout, dx, dfactor, dshift = sequence(dout), dense_on_cpu(x), _own_sums(factor), optional(_own_sums, shift)
        sums = address(dfactor), address(dshift)
        NATIVE.norm_backward(_norm(x, factor, centred, eps), view(dout), view(dx), *sums)
        return dx, dfactor.to(factor.dtype), None if shift is None or dshift is None else dshift.to(shift.dtype)


def _residual(y: Tensor, gate: Tensor) -> tuple:
    return tuple(y.shape), view(y), view(gate), torch.get_num_threads()


class _Sum(Function):
    jvp = refused(NO_FORWARD_MODE, "gated_sum")

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
        assert NATIVE is not None
        ctx.save_for_backward(gate, y)
        ctx.dtype = x.dtype
        out = _result(y, dtype)
        NATIVE.residual_forward(_residual(y, gate), view(x), view(out))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dout,) = grads
        return None, dout.to(ctx.dtype), *_SumBackward.apply(dout, *ctx.saved_tensors)


class _SumBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "gated_sum")

    @staticmethod
    def forward(ctx: Any, dout: Tensor, gate: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        assert NATIVE is not None
        dout, dgate, dy = sequence(dout), _own_sums(gate), dense_on_cpu(y)
        NATIVE.residual_backward(_residual(y, gate), view(dout), view(dy), address(dgate))
        return dgate.to(gate.dtype), dy
