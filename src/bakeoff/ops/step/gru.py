"""The step of a gated recurrent unit and the linear map behind it.

Shapes: B batch, D = d_model, E = units; F = 3 E: of the reset gate, the update gate and the new state.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared


class GruInputs(NamedTuple):
    """A token, the state, and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    state_1BE: Tensor
    weight_ih_FD: Tensor
    weight_hh_FE: Tensor
    bias_ih_F: Tensor
    bias_hh_F: Tensor
    out_proj_DE: Tensor


@lru_cache(64)
def _fields(B: int, D: int, E: int) -> list[Field]:
    return fields(GruInputs, B=B, D=D, E=E, F=3 * E, **{"1": 1})


def gru(given: GruInputs) -> tuple[Tensor, Tensor]:
    """y_BD, and the state after the token, changed in place.

    Raises:
        ValueError: a tensor has a wrong shape.
    """
    assert NATIVE is not None
    given = prepared(given)
    sizes = given.x_BD.shape[0], *given.out_proj_DE.shape
    found = addresses(given, _fields(*sizes))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.gru_step(sizes, found, y_BD.data_ptr(), torch.get_num_threads())
    return y_BD, given.state_1BE
