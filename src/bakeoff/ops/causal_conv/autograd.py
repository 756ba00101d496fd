"""The convolution's compiled kernels in eager mode: thin autograd functions around them.

Under torch.compile and dispatch modes the registered operator of `library` serves instead; in eager mode its boxed
dispatch would cost tens of microseconds a call.

Shapes: B batch, L tokens, D channels, K taps.
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, differentiated, refuse_duals, refused, traced
from bakeoff.ops.causal_conv import launch, library
from bakeoff.ops.causal_conv.launch import ConvKernels
from bakeoff.ops.tensors import optional, parameter


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """y_BLD in x's dtype."""
    kernels = launch.kernels(x_BLD)
    x = (kernels.sequence(x_BLD), parameter(weight_DK), optional(parameter, bias_D))
    if traced():
        refuse_duals("causal_conv", x)
        y_BLD = library.causal_conv(*x, silu, reverse)
    elif differentiated(x):
        y_BLD = _Conv.apply(kernels, *x, silu, reverse)
    else:
        y_BLD = kernels.forward(*x, silu, reverse)
    return y_BLD.to(x_BLD.dtype)


class _Conv(Function):
    jvp = refused(NO_FORWARD_MODE, "causal_conv")

    @staticmethod
    def forward(
        ctx: Any, kernels: ConvKernels, x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, *flags: bool
    ) -> Tensor:
        ctx.save_for_backward(x_BLD, weight_DK, bias_D)
        ctx.kernels, ctx.flags = kernels, flags
        return kernels.forward(x_BLD, weight_DK, bias_D, *flags)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_ConvBackward.apply(ctx.kernels, *ctx.saved_tensors, *ctx.flags, *grads), None, None


class _ConvBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "causal_conv")

    @staticmethod
    def forward(ctx: Any, kernels: ConvKernels, *arguments: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        return kernels.backward(*arguments)
