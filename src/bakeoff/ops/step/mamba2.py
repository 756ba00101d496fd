"""The step of Mamba-2.

Shapes: B batch, D = d_model, E = width (d_inner), H heads of P channels, G groups of N states, K taps; C = E + 2 G N
channels that are convolved, J = K - 1, F = E + C + H.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared


class Mamba2Inputs(NamedTuple):
    """A token, the state, and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    inputs_BJC: Tensor
    state_BHPN: Tensor
    in_proj_FD: Tensor
    conv_weight_C1K: Tensor
    conv_bias_C: Tensor
    dt_bias_H: Tensor
    A_log_H: Tensor
    skip_H: Tensor
    norm_E: Tensor
    out_proj_DE: Tensor


@lru_cache(64)
def _fields(B: int, D: int, E: int, N: int, K: int, H: int, G: int) -> list[Field]:
    C = E + 2 * G * N
    return fields(Mamba2Inputs, B=B, D=D, E=E, N=N, K=K, H=H, P=E // H, C=C, J=K - 1, F=E + C + H, **{"1": 1})


def mamba2(given: Mamba2Inputs, N: int, G: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """y_BD, and the state after the token: the convolution's inputs and the heads' states, changed in place.

    Args:
        N: states of a group.
        G: groups of heads that share B and C.
        eps: of the norm.

    Raises:
        ValueError: a tensor has a wrong shape.
    """
    assert NATIVE is not None
    given = prepared(given)
    D, E = given.out_proj_DE.shape
    sizes = given.x_BD.shape[0], D, E, N, given.conv_weight_C1K.shape[2], given.dt_bias_H.shape[0], G
    found = addresses(given, _fields(*sizes))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.mamba2_step(sizes, found, y_BD.data_ptr(), eps, torch.get_num_threads())
    return y_BD, given.inputs_BJC, given.state_BHPN
