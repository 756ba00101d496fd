"""Calls of the native kernels on tensors, without autograd: allocate the results, pass addresses and strides.

The Triton kernels are called through functions of the same names, in `triton_scan` and `triton_conv`.

Shapes: B batch, L tokens, D channels, N states, K taps, C chunks of tokens, P padded
states.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE

CHUNK = 14 if NATIVE is None else NATIVE.CHUNK
PAD = 16 if NATIVE is None else NATIVE.PAD


NO_SECOND_DERIVATIVES = "the kernels of {} have no second derivatives; set BAKEOFF_BACKEND=reference to have them"
NO_FORWARD_MODE = "the kernels of {} have no forward-mode derivatives; set BAKEOFF_BACKEND=reference to have them"


class ScanInputs(NamedTuple):
    """The scan's tensors as the kernels take them: each through `sequence` or `parameter`."""

    u_BLD: Tensor
    dt_BLD: Tensor
    A_DN: Tensor
    B_BLN: Tensor
    C_BLN: Tensor
    D_D: Tensor | None
    z_BLD: Tensor | None
    dt_bias_D: Tensor | None
    initial_BDN: Tensor | None


def saved(x: ScanInputs) -> tuple[Tensor, Tensor | None]:
    """What forward keeps for backward: the states (B, C, D, P) before each chunk, and with a gate y before it."""
    (B, L, D), N = x.u_BLD.shape, x.A_DN.shape[1]
    states_BCDP = x.A_DN.new_empty(B, -(-L // CHUNK), D, -(-N // PAD) * PAD)
    return states_BCDP, None if x.z_BLD is None else x.A_DN.new_empty(B, L, D)


def rows(x: Tensor) -> Tensor:
    """A (B, L, .) tensor with contiguous last axis: x itself where it is one."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def sequence(x: Tensor) -> Tensor:
    """A float32 or bfloat16 (B, L, .) tensor with contiguous last axis: x itself where it is one."""
    return rows(x if x.dtype in (torch.float32, torch.bfloat16) else x.float())


def parameter(x: Tensor) -> Tensor:
    """A contiguous float32 tensor: x itself where it is one."""
    return x.float().contiguous()


def optional(prepare: Callable[[Tensor], Tensor], x: Tensor | None) -> Tensor | None:
    return None if x is None else prepare(x)


def _view(x: Tensor | None) -> tuple[int, int, int, bool] | None:
    return None if x is None else (x.data_ptr(), x.stride(0), x.stride(1), x.dtype == torch.bfloat16)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _empty(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype)


def _scan(x: ScanInputs, dt_softplus: bool, reverse: bool) -> tuple:
    return (
        (*x.u_BLD.shape, x.A_DN.shape[1]),
        *map(_view, (x.u_BLD, x.dt_BLD, x.B_BLN, x.C_BLN, x.z_BLD)),
        *map(_address, (x.A_DN, x.D_D, x.dt_bias_D)),
        dt_softplus,
        reverse,
        torch.get_num_threads(),
    )


def scan_forward(
    x: ScanInputs, dt_softplus: bool, reverse: bool, want_final: bool, want_saved: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """y_BLD; the final state; and for backward the states before each chunk and, with a gate, y before it."""
    assert NATIVE is not None
    B, _, D = x.u_BLD.shape
    N = x.A_DN.shape[1]
    y_BLD = _empty(x.u_BLD)
    final_BDN = torch.empty(B, D, N) if want_final else None
    states_BCDP, ungated_BLD = saved(x) if want_saved else (None, None)
    NATIVE.scan_forward(
        _scan(x, dt_softplus, reverse),
        _view(y_BLD),
        *map(_address, (x.initial_BDN, final_BDN, states_BCDP, ungated_BLD)),
    )
    return y_BLD, final_BDN, states_BCDP, ungated_BLD


def scan_backward(
    x: ScanInputs,
    dt_softplus: bool,
    reverse: bool,
    states_BCDP: Tensor,
    ungated_BLD: Tensor | None,
    dy_BLD: Tensor,
    dfinal_BDN: Tensor | None,
) -> ScanInputs:
    """The gradient of every input, None for those absent."""
    assert NATIVE is not None
    dy_BLD, dfinal_BDN = sequence(dy_BLD), optional(parameter, dfinal_BDN)
    grads = ScanInputs._make(None if t is None else _empty(t) for t in x)
    NATIVE.scan_backward(
        _scan(x, dt_softplus, reverse),
        _view(dy_BLD),
        *map(_address, (dfinal_BDN, states_BCDP, ungated_BLD)),
        *map(_view, (grads.u_BLD, grads.dt_BLD, grads.B_BLN, grads.C_BLN, grads.z_BLD)),
        *map(_address, (grads.A_DN, grads.D_D, grads.dt_bias_D, grads.initial_BDN)),
    )
    return grads


def _conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> tuple:
    shape = (*x_BLD.shape, weight_DK.shape[1])
    threads = torch.get_num_threads()
    return shape, _view(x_BLD), _address(weight_DK), _address(bias_D), silu, reverse, threads


def conv_forward(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    assert NATIVE is not None
    y_BLD = _empty(x_BLD)
    NATIVE.conv_forward(_conv(x_BLD, weight_DK, bias_D, silu, reverse), _view(y_BLD))
    return y_BLD


def conv_backward(
    x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool, dy_BLD: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of x, weight and bias."""
    assert NATIVE is not None
    dy_BLD = sequence(dy_BLD)
    dx_BLD, dweight_DK = _empty(x_BLD), _empty(weight_DK)
    dbias_D = None if bias_D is None else _empty(bias_D)
    NATIVE.conv_backward(
        _conv(x_BLD, weight_DK, bias_D, silu, reverse),
        _view(dy_BLD),
        _view(dx_BLD),
        dweight_DK.data_ptr(),
        _address(dbias_D),
    )
    return dx_BLD, dweight_DK, dbias_D
