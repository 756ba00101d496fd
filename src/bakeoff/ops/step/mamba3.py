"""The step of Mamba-3.

Shapes: B batch, D = d_model, E = width (d_inner), H heads of P channels, G groups, R ranks, N states, S angles;
F = 2 E + 2 G R N + 2 H + S, and H more with the trapezoid.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared


class Mamba3Inputs(NamedTuple):
    """A token, the state, and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    state_BHPN: Tensor
    k_BGRN: Tensor
    v_BHP: Tensor
    angle_BHS: Tensor
    in_proj_FD: Tensor
    dt_bias_H: Tensor
    B_bias_HRN: Tensor | None
    C_bias_HRN: Tensor | None
    B_norm_N: Tensor
    C_norm_N: Tensor
    mimo_x_HRP: Tensor | None  # the three are absent with one rank
    mimo_z_HRP: Tensor | None
    mimo_o_HRP: Tensor | None
    skip_H: Tensor
    norm_E: Tensor | None
    out_proj_DE: Tensor


class Mamba3Options(NamedTuple):
    """What the parameters do not tell."""

    N: int
    G: int
    R: int
    S: int
    trapezoid: bool
    heavy_tail: bool
    slowest: float  # below 0: the decay rate is this or further from 0
    eps: float  # of the norms


@lru_cache(64)
def _fields(B: int, D: int, E: int, N: int, H: int, G: int, R: int, S: int, trapezoid: bool) -> list[Field]:
    F = 2 * E + 2 * G * R * N + (3 if trapezoid else 2) * H + S
    return fields(Mamba3Inputs, B=B, D=D, E=E, N=N, H=H, G=G, R=R, S=S, P=E // H, F=F)


def mamba3(given: Mamba3Inputs, options: Mamba3Options) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y_BD, and the state after the token, its four parts changed in place.

    Raises:
        ValueError: a tensor has a wrong shape.
    """
    assert NATIVE is not None
    given = prepared(given)
    D, E = given.out_proj_DE.shape
    N, G, R, S, *rest = options
    sizes = given.x_BD.shape[0], D, E, N, given.dt_bias_H.shape[0], G, R, S
    found = addresses(given, _fields(*sizes, options.trapezoid))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.mamba3_step(sizes, found, y_BD.data_ptr(), *rest, torch.get_num_threads())
    return y_BD, given.state_BHPN, given.k_BGRN, given.v_BHP, given.angle_BHS
