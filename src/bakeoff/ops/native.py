"""The native back end in eager mode: thin autograd functions around the kernels.

Under torch.compile and dispatch modes (FLOP counting, fake tensors) the registered operators of `library`
serve instead; in eager mode their boxed dispatch would cost tens of microseconds a call.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from bakeoff.ops import kernels, library
from bakeoff.ops.kernels import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, ScanInputs


def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None,
    z_BLD: Tensor | None,
    dt_bias_D: Tensor | None,
    initial_BDN: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
    want_final: bool,
) -> tuple[Tensor, Tensor | None]:
    """y_BLD in u's dtype, and the final state if wanted."""
    x = ScanInputs(
        u_BLD=kernels.sequence(u_BLD),
        dt_BLD=kernels.sequence(dt_BLD),
        A_DN=kernels.parameter(A_DN),
        B_BLN=kernels.sequence(B_BLN),
        C_BLN=kernels.sequence(C_BLN),
        D_D=kernels.optional(kernels.parameter, D_D),
        z_BLD=kernels.optional(kernels.sequence, z_BLD),
        dt_bias_D=kernels.optional(kernels.parameter, dt_bias_D),
        initial_BDN=kernels.optional(kernels.parameter, initial_BDN),
    )
    if _traced():
        y_BLD, final_BDN = library.scan(*x, dt_softplus, reverse, want_final)
    elif _differentiated(x):
        y_BLD, final_BDN = _Scan.apply(*x, dt_softplus, reverse, want_final)
    else:
        y_BLD, final_BDN, *_ = kernels.scan_forward(x, dt_softplus, reverse, want_final, want_saved=False)
    return y_BLD.to(u_BLD.dtype), final_BDN


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """y_BLD in x's dtype."""
    bias = kernels.optional(kernels.parameter, bias_D)
    x = (kernels.sequence(x_BLD), kernels.parameter(weight_DK), bias)
    if _traced():
        y_BLD = library.causal_conv(*x, silu, reverse)
    elif _differentiated(x):
        y_BLD = _Conv.apply(*x, silu, reverse)
    else:
        y_BLD = kernels.conv_forward(*x, silu, reverse)
    return y_BLD.to(x_BLD.dtype)


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def _differentiated(tensors: tuple[Tensor | None, ...]) -> bool:
    if forward_ad._current_level >= 0:  # inside dual_level(): let the function below refuse dual tensors
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


class _Scan(Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor | None]:
        x, (dt_softplus, reverse, want_final) = ScanInputs(*arguments[:9]), arguments[9:]
        y_BLD, final_BDN, *saved = kernels.scan_forward(x, dt_softplus, reverse, want_final, want_saved=True)
        ctx.save_for_backward(*x, *saved)
        ctx.flags = dt_softplus, reverse
        ctx.set_materialize_grads(False)
        return y_BLD, final_BDN

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(g is None for g in grads):
            return (None,) * 12
        return *_ScanBackward.apply(*grads, *ctx.flags, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_FORWARD_MODE.format("selective_scan"))


class _ScanBackward(Function):
    @staticmethod
    def forward(ctx: Any, dy_BLD: Tensor | None, dfinal_BDN: Tensor | None, *arguments: Any) -> ScanInputs:
        (dt_softplus, reverse), x, (states, ungated) = arguments[:2], ScanInputs(*arguments[2:11]), arguments[11:]
        dy_BLD = torch.zeros_like(x.u_BLD) if dy_BLD is None else dy_BLD
        return kernels.scan_backward(x, dt_softplus, reverse, states, ungated, dy_BLD, dfinal_BDN)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(NO_SECOND_DERIVATIVES.format("selective_scan"))


class _Conv(Function):
    @staticmethod
    def forward(ctx: Any, x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, *flags: bool) -> Tensor:
        ctx.save_for_backward(x_BLD, weight_DK, bias_D)
        ctx.flags = flags
        return kernels.conv_forward(x_BLD, weight_DK, bias_D, *flags)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_ConvBackward.apply(*ctx.saved_tensors, *ctx.flags, *grads), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_FORWARD_MODE.format("causal_conv"))


class _ConvBackward(Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        return kernels.conv_backward(*arguments)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(NO_SECOND_DERIVATIVES.format("causal_conv"))
