"""Calls of the scan's C++ kernels on tensors, without autograd: allocate the results, pass addresses and strides.

`triton_launch` calls the Triton kernels through functions of the same names.

Shapes: B batch, L tokens, D channels, N states, C chunks of tokens, P padded channels.
"""

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.selective_scan.inputs import ScanInputs
from bakeoff.ops.tensors import address, dense_on_cpu, optional, parameter, sequence, view

# kChunk and kPad of csrc/api.h, which the module itself tells where it is built.
CHUNK, PAD = (28, 16) if NATIVE is None else (NATIVE.CHUNK, NATIVE.PAD)


def saved(x: ScanInputs) -> tuple[Tensor, Tensor | None]:
    """What forward keeps for backward: the states (B, C, P, N) before each chunk, and with a gate y before it."""
    (B, L, D), N = x.u_BLD.shape, x.A_DN.shape[1]
    states_BCPN = x.A_DN.new_empty(B, -(-L // CHUNK), -(-D // PAD) * PAD, N)
    return states_BCPN, None if x.z_BLD is None else x.A_DN.new_empty(B, L, D)


def _arguments(x: ScanInputs, dt_softplus: bool, reverse: bool) -> tuple:
    return (
        (*x.u_BLD.shape, x.A_DN.shape[1]),
        *map(view, (x.u_BLD, x.dt_BLD, x.B_BLN, x.C_BLN, x.z_BLD)),
        *map(address, (x.A_DN, x.D_D, x.dt_bias_D)),
        dt_softplus,
        reverse,
        torch.get_num_threads(),
    )


def forward(
    x: ScanInputs, dt_softplus: bool, reverse: bool, want_final: bool, want_saved: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """y_BLD; the final state; and for backward the states before each chunk and, with a gate, y before it."""
    assert NATIVE is not None
    B, _, D = x.u_BLD.shape
    N = x.A_DN.shape[1]
    y_BLD = dense_on_cpu(x.u_BLD)
    final_BDN = torch.empty(B, D, N) if want_final else None
    states_BCPN, ungated_BLD = saved(x) if want_saved else (None, None)
    NATIVE.scan_forward(
        _arguments(x, dt_softplus, reverse),
        view(y_BLD),
        *map(address, (x.initial_BDN, final_BDN, states_BCPN, ungated_BLD)),
    )
    return y_BLD, final_BDN, states_BCPN, ungated_BLD


def backward(
    x: ScanInputs,
    dt_softplus: bool,
    reverse: bool,
    states_BCPN: Tensor,
    ungated_BLD: Tensor | None,
    dy_BLD: Tensor,
    dfinal_BDN: Tensor | None,
) -> ScanInputs:
    """The gradient of every input, None for those absent."""
    assert NATIVE is not None
    dy_BLD, dfinal_BDN = sequence(dy_BLD), optional(parameter, dfinal_BDN)
    grads = ScanInputs._make(None if t is None else dense_on_cpu(t) for t in x)
    NATIVE.scan_backward(
        _arguments(x, dt_softplus, reverse),
        view(dy_BLD),
        *map(address, (dfinal_BDN, states_BCPN, ungated_BLD)),
        *map(view, (grads.u_BLD, grads.dt_BLD, grads.B_BLN, grads.C_BLN, grads.z_BLD)),
        *map(address, (grads.A_DN, grads.D_D, grads.dt_bias_D, grads.initial_BDN)),
    )
    return grads
