"""Sequences of the elements of a finite group, and the product of all that was read so far, by tables.

An element is a number: the place of its permutation among the group's, in lexicographic order; 0 is the identity. The
product of a and b is "first a, then b". Parity is the group of two elements, whose product is exclusive or.

Shapes: B sequences, L tokens, G elements of the group.
"""

from functools import lru_cache
from itertools import permutations

import torch
from torch import Generator, Tensor

from bakeoff.seeding import generator

BLOCK = 64  # sequences of a fixed set are made so many at a time, so that the first k do not depend on the count
GROUPS = {"parity": (2, False), "s3": (3, False), "a5": (5, True), "s5": (5, False)}  # points, even permutations alone


@lru_cache
def elements(group: str) -> tuple[tuple[int, ...], ...]:
    """The G permutations: where each point goes."""
    points, even = GROUPS[group]
    return tuple(one for one in permutations(range(points)) if not even or _is_even(one))


@lru_cache
def table(group: str) -> Tensor:
    """(G, G) int64: the product of a and b stands at [a, b]."""
    found = {one: i for i, one in enumerate(elements(group))}
    return torch.tensor([[found[tuple(b[point] for point in a)] for b in found] for a in found])


def drawn(group: str, count: int, length: int, g: Generator) -> Tensor:
    """(count, length) int64 elements, each as likely as the others."""
    return torch.randint(len(elements(group)), (count, length), generator=g)


def fixed(group: str, name: str, count: int, length: int) -> Tensor:
    """The first `count` sequences of a set that does not change, (count, length) int64."""
    blocks = range(-(-count // BLOCK))
    return torch.cat([drawn(group, BLOCK, length, generator(f"tracking {name}", i)) for i in blocks])[:count]


@lru_cache
def inverses(group: str) -> Tensor:
    """(G,) int64: what makes the identity of each element, from either side."""
    return table(group).argmin(1)  # the identity is 0


def products(group: str, tokens_BL: Tensor) -> Tensor:
    """(B, L) int64: at each token the product of all tokens up to it, from int64 tokens of the group."""
    table_GG, products_BL = table(group), tokens_BL.clone()
    for t in range(1, tokens_BL.shape[1]):
        products_BL[:, t] = table_GG[products_BL[:, t - 1], tokens_BL[:, t]]
    return products_BL


def latest(group: str, products_BL: Tensor, size: int) -> Tensor:
    """(B, L) int64: the product of the last `size` tokens alone, from the products of all."""
    before_BL = torch.zeros_like(products_BL)
    before_BL[:, size:] = products_BL[:, :-size]
    return table(group)[inverses(group)[before_BL], products_BL]


def _is_even(one: tuple[int, ...]) -> bool:
    return sum(one[i] > one[j] for j in range(len(one)) for i in range(j)) % 2 == 0
