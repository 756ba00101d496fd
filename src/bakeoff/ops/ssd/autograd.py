"""The compiled kernels of the state space dual form in eager mode: thin autograd functions around them.

Under torch.compile and dispatch modes the registered operator of `library` serves instead; in eager mode its boxed
dispatch would cost tens of microseconds a call.

Shapes: B batch, L tokens, G groups, H heads, R ranks, N states, P channels a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from bakeoff.ops.autograd import NO_FORWARD_MODE, NO_SECOND_DERIVATIVES, differentiated, refuse_duals, refused, traced
from bakeoff.ops.ssd import launch, library
from bakeoff.ops.ssd.inputs import SsdInputs
from bakeoff.ops.ssd.launch import SsdKernels
from bakeoff.ops.tensors import optional, parameter


def ssd(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    initial_BHPN: Tensor | None,
    reverse: bool,
    want_final: bool,
) -> tuple[Tensor, Tensor | None]:
    """y in v's dtype, and the final state if wanted."""
    kernels = launch.kernels(v_BLHRP)
    x = SsdInputs(
        q_BLGRN=kernels.sequence(q_BLGRN),
        k_BLGRN=kernels.sequence(k_BLGRN),
        v_BLHRP=kernels.sequence(v_BLHRP),
        log_decay_BLH=parameter(log_decay_BLH),
        w_BLH=parameter(w_BLH),
        g_BLH=parameter(g_BLH),
        initial_BHPN=optional(parameter, initial_BHPN),
    )
    if traced():
        refuse_duals("ssd", x)
        y_BLHRP, final_BHPN = library.dual(*x, reverse, want_final)
    elif differentiated(x):
        y_BLHRP, final_BHPN = _Ssd.apply(kernels, *x, reverse, want_final)
    else:
        y_BLHRP, final_BHPN, _ = kernels.forward(x, reverse, want_final, False)
    return y_BLHRP.to(v_BLHRP.dtype), final_BHPN


class _Ssd(Function):
    jvp = refused(NO_FORWARD_MODE, "ssd")

    @staticmethod
    def forward(ctx: Any, kernels: SsdKernels, *arguments: Any) -> tuple[Tensor, Tensor | None]:
        x, (reverse, want_final) = SsdInputs(*arguments[:7]), arguments[7:]
        y_BLHRP, final_BHPN, states = kernels.forward(x, reverse, want_final, True)
        ctx.save_for_backward(*x, states)
        ctx.kernels, ctx.reverse = kernels, reverse
        ctx.set_materialize_grads(False)
        return y_BLHRP, final_BHPN

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(grad is None for grad in grads):
            return (None,) * 10
        return None, *_SsdBackward.apply(ctx.kernels, *grads, ctx.reverse, *ctx.saved_tensors), None, None


class _SsdBackward(Function):
    backward = refused(NO_SECOND_DERIVATIVES, "ssd")

    @staticmethod
    def forward(
        ctx: Any, kernels: SsdKernels, dy_BLHRP: Tensor | None, dfinal_BHPN: Tensor | None, *arguments: Any
    ) -> SsdInputs:
        reverse, x, states = arguments[0], SsdInputs(*arguments[1:8]), arguments[8]
        dy_BLHRP = torch.zeros_like(x.v_BLHRP) if dy_BLHRP is None else dy_BLHRP
        return kernels.backward(x, reverse, states, dy_BLHRP, dfinal_BHPN)
