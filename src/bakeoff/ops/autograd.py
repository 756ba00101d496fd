"""The compiled back ends in eager mode: thin autograd functions around their kernels.

Under torch.compile and dispatch modes (FLOP counting, fake tensors) the registered operators of `library`
serve instead; in eager mode their boxed dispatch would cost tens of microseconds a call.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from bakeoff.ops import kernels, launch, library
from bakeoff.ops.kernels import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, ScanInputs
from bakeoff.ops.launch import Conv, Scan


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
    scan = launch.scan(u_BLD)
    x = ScanInputs(
        u_BLD=scan.sequence(u_BLD),
        dt_BLD=scan.sequence(dt_BLD),
        A_DN=kernels.parameter(A_DN),
        B_BLN=scan.sequence(B_BLN),
        C_BLN=scan.sequence(C_BLN),
        D_D=kernels.optional(kernels.parameter, D_D),
        z_BLD=kernels.optional(scan.sequence, z_BLD),
        dt_bias_D=kernels.optional(kernels.parameter, dt_bias_D),
        initial_BDN=kernels.optional(kernels.parameter, initial_BDN),
    )
    if _traced():
        y_BLD, final_BDN = library.scan(*x, dt_softplus, reverse, want_final)
    elif _differentiated(x):
        y_BLD, final_BDN = _Scan.apply(scan, *x, dt_softplus, reverse, want_final)
    else:
        y_BLD, final_BDN, *_ = scan.forward(x, dt_softplus, reverse, want_final, False)
    return y_BLD.to(u_BLD.dtype), final_BDN


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """y_BLD in x's dtype."""
    conv, bias = launch.conv(x_BLD), kernels.optional(kernels.parameter, bias_D)
    x = (conv.sequence(x_BLD), kernels.parameter(weight_DK), bias)
    if _traced():
        y_BLD = library.causal_conv(*x, silu, reverse)
    elif _differentiated(x):
        y_BLD = _Conv.apply(conv, *x, silu, reverse)
    else:
        y_BLD = conv.forward(*x, silu, reverse)
    return y_BLD.to(x_BLD.dtype)


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def _differentiated(tensors: tuple[Tensor | None, ...]) -> bool:
    if forward_ad._current_level >= 0:  # inside dual_level(): let the function below refuse dual tensors
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


class _Scan(Function):
    @staticmethod
    def forward(ctx: Any, scan: Scan, *arguments: Any) -> tuple[Tensor, Tensor | None]:
        x, (dt_softplus, reverse, want_final) = ScanInputs(*arguments[:9]), arguments[9:]
        y_BLD, final_BDN, *saved = scan.forward(x, dt_softplus, reverse, want_final, True)
        ctx.save_for_backward(*x, *saved)
        ctx.scan, ctx.flags = scan, (dt_softplus, reverse)
        ctx.set_materialize_grads(False)
        return y_BLD, final_BDN

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(g is None for g in grads):
            return (None,) * 13
        return None, *_ScanBackward.apply(ctx.scan, *grads, *ctx.flags, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_FORWARD_MODE.format("selective_scan"))


class _ScanBackward(Function):
    @staticmethod
    def forward(ctx: Any, scan: Scan, dy_BLD: Tensor | None, dfinal_BDN: Tensor | None, *arguments: Any) -> ScanInputs:
        (dt_softplus, reverse), x, (states, ungated) = arguments[:2], ScanInputs(*arguments[2:11]), arguments[11:]
        dy_BLD = torch.zeros_like(x.u_BLD) if dy_BLD is None else dy_BLD
        return scan.backward(x, dt_softplus, reverse, states, ungated, dy_BLD, dfinal_BDN)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(NO_SECOND_DERIVATIVES.format("selective_scan"))


class _Conv(Function):
    @staticmethod
    def forward(ctx: Any, conv: Conv, x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, *flags: bool) -> Tensor:
        ctx.save_for_backward(x_BLD, weight_DK, bias_D)
        ctx.conv, ctx.flags = conv, flags
        return conv.forward(x_BLD, weight_DK, bias_D, *flags)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_ConvBackward.apply(ctx.conv, *ctx.saved_tensors, *ctx.flags, *grads), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_FORWARD_MODE.format("causal_conv"))


class _ConvBackward(Function):
    @staticmethod
    def forward(ctx: Any, conv: Conv, *arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        return conv.backward(*arguments)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(NO_SECOND_DERIVATIVES.format("causal_conv"))
