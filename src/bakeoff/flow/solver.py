"""Solvers of dx/dt = v(x, t) from t = 0 to 1, with a true count of network evaluations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["euler", "midpoint", "heun"]
Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Trajectory:
    """The solution at t = 1, how many network evaluations it took, and all states if they were kept.

    Attributes:
        x: final state.
        nfe: network evaluations per sample (guidance counts each of its two).
        path: states at t = 0, 1/S, ..., 1 (S + 1 of them), or None.
    """

    x: Tensor
    nfe: int
    path: list[Tensor] | None


class Guided:
    """A velocity field with classifier-free guidance [Ho and Salimans 2022]: v_none + w (v_label - v_none).

    w = 1 evaluates the network once, any other weight twice (in one batch). Without labels there is nothing
    to guide, and the network is evaluated once.
    """

    def __init__(
        self,
        velocity: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        labels_B: Tensor | None,
        no_label: int,
        weight: float,
    ) -> None:
        self.velocity, self.labels_B, self.no_label, self.weight = velocity, labels_B, no_label, weight
        self.evaluations = 0

    def __call__(self, x_BLC: Tensor, t_B: Tensor) -> Tensor:
        if self.labels_B is None or self.weight == 1.0:
            self.evaluations += 1
            return self.velocity(x_BLC, t_B, self.labels_B).float()
        self.evaluations += 2
        labels = torch.cat([self.labels_B, torch.full_like(self.labels_B, self.no_label)])
        both = self.velocity(torch.cat([x_BLC, x_BLC]), torch.cat([t_B, t_B]), labels).float()
        v_label, v_none = both.chunk(2)
        return v_none + self.weight * (v_label - v_none)


@torch.no_grad()
def solve(field: Field, noise_BLC: Tensor, steps: int, solver: Solver, *, keep_path: bool = False) -> Trajectory:
    """Integrate from noise at t = 0 to data at t = 1 in equal steps t_k = k / steps.

    `euler` costs one evaluation of the field a step, `midpoint` and `heun` two. A `Guided` field counts its
    own evaluations of the network; any other field counts one a call.
    """
    x, h, calls = noise_BLC, 1.0 / steps, 0
    before = field.evaluations if isinstance(field, Guided) else 0
    path = [x] if keep_path else None

    def v(x: Tensor, t: float) -> Tensor:
        nonlocal calls
        calls += 1
        return field(x, torch.full((len(x),), t, device=x.device))

    for k in range(steps):
        t = k / steps
        slope = v(x, t)
        if solver == "midpoint":
            slope = v(x + 0.5 * h * slope, t + 0.5 * h)
        elif solver == "heun":
            slope = 0.5 * (slope + v(x + h * slope, t + h))
        x = x + h * slope
        if path is not None:
            path.append(x)
    return Trajectory(x, field.evaluations - before if isinstance(field, Guided) else calls, path)
