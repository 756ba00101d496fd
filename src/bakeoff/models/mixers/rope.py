"""Rotary positions [Su et al. 2021]: by place in a row, or by the coordinates of a grid, as in JiT [Li and He 2025].

Shapes: L tokens, P channels a head, d axes.
"""

from functools import lru_cache

import torch
from torch import Tensor

BASE = 10_000.0


def places(first: int, count: int, grid: tuple[int, ...], context: int, device: torch.device) -> Tensor:
    """Coordinates (L, d) of the tokens from `first` on; without a grid their numbers, (L, 1).

    The first `context` tokens lie on no grid; they have place 0 on every axis.
    """
    index_L = torch.arange(first, first + count, device=device)
    if not grid:
        return index_L[:, None]
    inside_L = (index_L - context).clamp_min(0)
    return torch.stack(torch.unravel_index(inside_L, grid), -1)


def turns(places_Ld: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of `half` pairs, each (L, half); the axes share them, what is left does not turn.

    With m pairs an axis, the i-th turns by place / 10 000^(i / m).
    """
    L, axes = places_Ld.shape
    m = half // axes
    rates_m = BASE ** (-torch.arange(m, device=places_Ld.device, dtype=torch.float32) / m)
    turning_LP = (places_Ld.float()[:, :, None] * rates_m).flatten(1)
    angles_LP = torch.cat([turning_LP, turning_LP.new_zeros(L, half - axes * m)], 1)
    return angles_LP.cos(), angles_LP.sin()


@lru_cache(256)
def turns_of(place: int, half: int, grid: tuple[int, ...], context: int) -> Tensor:
    """Those of one token, (2, half) on the CPU, kept: all layers of a stack ask for the same."""
    return torch.cat(turns(places(place, 1, grid, context, torch.device("cpu")), half))
