"""Solvers of dx/dt = v(x, t) from t = 0 to 1."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["euler", "midpoint", "heun"]
Field = Callable[[Tensor, Tensor], Tensor]
EVALUATIONS: dict[Solver, int] = {"euler": 1, "midpoint": 2, "heun": 2}  # evaluations of the field per step


@torch.no_grad()
def states(field: Field, noise_BLC: Tensor, steps: int, solver: Solver) -> Iterator[Tensor]:
    """Yields x after 0, 1, ..., `steps` equal steps t_k = k / steps from noise at t = 0 to data at t = 1.

    `euler` costs one evaluation of the field per step, `midpoint` and `heun` cost two.
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
        elif solver == "heun":
            slope = 0.5 * (slope + v(x + h * slope, t + h))
        x = x + h * slope
        yield x
