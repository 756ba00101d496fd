"""The step of causal attention over a cache of keys and values.

Shapes: B batch, D = d_model, E = width, H heads of P channels, G heads of keys and values, T tokens that the cache has
room for; F = E + 2 G P, I = P / 2.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.step.serving import Field, addresses, fields, prepared


class AttentionInputs(NamedTuple):
    """A token, the cache, the token's place, and the mixer's parameters, in the order of the C++ arguments."""

    x_BD: Tensor
    cache_2BGTP: Tensor
    turns_2I: Tensor | None  # cosines and sines of the angles by which queries and keys are turned
    qkv_FD: Tensor
    qkv_bias_F: Tensor
    q_norm_P: Tensor | None
    k_norm_P: Tensor | None
    out_proj_DE: Tensor
    out_bias_D: Tensor


@lru_cache(64)
def _fields(B: int, D: int, E: int, H: int, G: int, T: int) -> list[Field]:
    P = E // H
    return fields(AttentionInputs, B=B, D=D, E=E, G=G, P=P, T=T, I=P // 2, F=E + 2 * G * P, **{"2": 2})


def attention(given: AttentionInputs, H: int, kept: int, slides: bool, eps: float) -> tuple[Tensor, Tensor]:
    """y_BD, and the cache with the token's key and value behind the others.

    Args:
        H: heads of queries.
        kept: tokens that the cache holds.
        slides: whether the first of them leaves it as this one enters; if not, it must have room for one more.
        eps: of the norms.

    Raises:
        ValueError: a tensor has a wrong shape, or the cache has no room.
    """
    assert NATIVE is not None
    given = prepared(given)
    D, E = given.out_proj_DE.shape
    G, room = given.cache_2BGTP.shape[2:4]
    if kept + (not slides) > room:
        raise ValueError(f"cache_2BGTP has T = {room}; it must have room for {kept + (not slides)} tokens")
    sizes = given.x_BD.shape[0], D, E, H, G
    found = addresses(given, _fields(*sizes, room))
    y_BD = torch.empty_like(given.x_BD)
    NATIVE.attention_step((*sizes, kept, room), found, y_BD.data_ptr(), slides, eps, torch.get_num_threads())
    return y_BD, given.cache_2BGTP
