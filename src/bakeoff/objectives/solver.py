"""Solvers of dx/dt = v(x, t) from t = 0 to 1."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["euler", "midpoint", "heun"]
Field = Callable[[Tensor, Tensor], Tensor]


def evaluations(steps: int, solver: Solver, *, at_end: bool = True) -> int:
    """How often `states` evaluates the field."""
    return steps if solver == "euler" else 2 * steps - (solver == "heun" and not at_end)


@torch.no_grad()
def states(field: Field, noise_BLC: Tensor, steps: int, solver: Solver, *, at_end: bool = True) -> Iterator[Tensor]:
    """Yields x after 0, 1, ..., `steps` equal steps t_k = k / steps from noise at t = 0 to data at t = 1.

    `euler` costs one evaluation of the field per step, `midpoint` and `heun` cost two; of a field that is not known at
    t = 1, which is told by `at_end`, the last step of `heun` is one of `euler` [Karras et al. 2022, algorithm 1].
    """
    x, h = noise_BLC, 1.0 / steps
    yield x

    def v(x: Tensor, t: float) -> Tensor:
        return field(x, torch.full((len(x),), t, device=x.device))

    for k in range(steps):
        t = k / steps
        slope = v(x, t)
        if solver == "midpoint":
            slope = v(x + 0.5 * h * slope, t + 0.5 * h)
        elif solver == "heun" and (at_end or k + 1 < steps):
            slope = 0.5 * (slope + v(x + h * slope, t + h))
        x = x + h * slope
        yield x
