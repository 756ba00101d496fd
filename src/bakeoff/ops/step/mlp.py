"""The step of a multilayer perceptron, which keeps no state.

Shapes: B batch, D = d_model, E = hidden width.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared


class MlpInputs(NamedTuple):
    """A token and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    gate_ED: Tensor | None  # with it down(silu(gate(x)) up(x)), without it down(gelu(up(x)))
    up_ED: Tensor
    up_bias_E: Tensor | None
    down_DE: Tensor
    down_bias_D: Tensor | None


@lru_cache(64)
def _fields(B: int, D: int, E: int) -> list[Field]:
    return fields(MlpInputs, B=B, D=D, E=E)


def mlp(given: MlpInputs) -> Tensor:
    """y_BD.

    Raises:
        ValueError: a tensor has a wrong shape.
    """
    assert NATIVE is not None
    given = prepared(given)
    sizes = given.x_BD.shape[0], *given.down_DE.shape
    found = addresses(given, _fields(*sizes))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.mlp_step(sizes, found, y_BD.data_ptr(), torch.get_num_threads())
    return y_BD
