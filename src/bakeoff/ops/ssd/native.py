"""Calls of the state space dual form's C++ kernels on tensors, without autograd: allocate results, pass addresses.

`triton_launch` calls the Triton kernels through functions of the same names.

Shapes: B batch, L tokens, G groups, H heads, R ranks, N states, P channels a head, C chunks of tokens, S padded states.
"""

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.ssd.inputs import SsdInputs
from bakeoff.ops.tensors import address, dense_on_cpu, optional, parameter, sequence, view


def saved(x: SsdInputs) -> Tensor:
    """What forward keeps for backward: the states (B, C - 1, H, P, S) between chunks, not initialised."""
    assert NATIVE is not None
    (B, L, _, R, N), (H, P) = x.q_BLGRN.shape, x.v_BLHRP.shape[2::2]
    return x.w_BLH.new_empty(B, NATIVE.ssd_chunks(L, R) - 1, H, P, -(-N // NATIVE.PAD) * NATIVE.PAD)


def _arguments(x: SsdInputs, reverse: bool) -> tuple:
    B, L, G, R, N = x.q_BLGRN.shape
    H, P = x.v_BLHRP.shape[2::2]
    return (
        (B, L, G, H, R, N, P),
        *map(view, (x.q_BLGRN, x.k_BLGRN, x.v_BLHRP)),
        *map(address, (x.log_decay_BLH, x.w_BLH, x.g_BLH)),
        reverse,
        torch.get_num_threads(),
    )


def forward(
    x: SsdInputs, reverse: bool, want_final: bool, want_saved: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """y in v's dtype; the final state; and for backward the states before each chunk but the first."""
    assert NATIVE is not None
    y_BLHRP = dense_on_cpu(x.v_BLHRP)
    B, _, H, _, P = y_BLHRP.shape
    final_BHPN = torch.empty(B, H, P, x.q_BLGRN.shape[-1]) if want_final else None
    states_BCHPS = saved(x) if want_saved else None
    NATIVE.ssd_forward(_arguments(x, reverse), view(y_BLHRP), *map(address, (x.initial_BHPN, final_BHPN, states_BCHPS)))
    return y_BLHRP, final_BHPN, states_BCHPS


def backward(
    x: SsdInputs, reverse: bool, states_BCHPS: Tensor, dy_BLHRP: Tensor, dfinal_BHPN: Tensor | None
) -> SsdInputs:
    """The gradient of every input, None for an absent initial state."""
    assert NATIVE is not None
    dy_BLHRP, dfinal_BHPN = sequence(dy_BLHRP), optional(parameter, dfinal_BHPN)
    grads = SsdInputs._make(None if t is None else dense_on_cpu(t) for t in x)
    (B, _, G, *_), H = x.q_BLGRN.shape, x.v_BLHRP.shape[2]
    # Where several items share a group, each has sums of its own for dq and dk.
    parts = -(-(H // G) // NATIVE.ssd_heads(B, G, H))
    summed = parts > 1
    dq, dk = (torch.empty(parts, *t.shape) if summed else t.unsqueeze(0) for t in (grads.q_BLGRN, grads.k_BLGRN))
    NATIVE.ssd_backward(
        _arguments(x, reverse),
        view(dy_BLHRP),
        *map(address, (x.initial_BHPN, dfinal_BHPN, states_BCHPS)),
        view(dq[0]),
        view(dk[0]),
        dq.stride(0),
        view(grads.v_BLHRP),
        *map(address, (grads.log_decay_BLH, grads.w_BLH, grads.g_BLH, grads.initial_BHPN)),
    )
    if not summed:
        return grads
    return grads._replace(q_BLGRN=dq.sum(0).to(x.q_BLGRN.dtype), k_BLGRN=dk.sum(0).to(x.k_BLGRN.dtype))
