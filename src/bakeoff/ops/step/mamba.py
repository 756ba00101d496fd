"""The step of Mamba-1.

Shapes: B batch, D = d_model, E = width (d_inner), N = d_state, R = rank of dt, K taps; J = K - 1, F = 2 E,
X = R + 2 N.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared

RULES = ("exponential", "euler", "none")  # of discretisation, in the order of the C++ enumeration


class MambaInputs(NamedTuple):
    """A token, the state, and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    inputs_BJE: Tensor
    state_BEN: Tensor
    in_proj_FD: Tensor
    conv_weight_EK: Tensor
    conv_bias_E: Tensor
    x_proj_XE: Tensor | None  # both absent where dt, B and C do not depend on the token
    dt_proj_ER: Tensor | None
    fixed_B_N: Tensor | None  # B and C, there
    fixed_C_N: Tensor | None
    dt_bias_E: Tensor
    A_log_EN: Tensor | None  # absent with the rule "none"
    skip_E: Tensor
    out_proj_DE: Tensor


@lru_cache(64)
def _fields(B: int, D: int, E: int, N: int, K: int, R: int) -> list[Field]:
    return fields(MambaInputs, B=B, D=D, E=E, N=N, K=K, R=R, J=K - 1, F=2 * E, X=R + 2 * N)


def mamba(given: MambaInputs, rule: str, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """y_BD, and the state after the token: the convolution's inputs and the scan's state, changed in place.

    Args:
        rule: one of `RULES`.
        N: states of a channel.

    Raises:
        ValueError: a tensor has a wrong shape.
    """
    assert NATIVE is not None
    given = prepared(given)
    D, E = given.out_proj_DE.shape
    R = 0 if given.dt_proj_ER is None else given.dt_proj_ER.shape[1]
    sizes = given.x_BD.shape[0], D, E, N, given.conv_weight_EK.shape[1], R
    found = addresses(given, _fields(*sizes))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.mamba_step(sizes, found, y_BD.data_ptr(), RULES.index(rule), torch.get_num_threads())
    return y_BD, given.inputs_BJE, given.state_BEN
