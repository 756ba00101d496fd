"""Solvers of dx/dt = v(x, t) from t = 0 to 1, with a true count of network evaluations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Solver = Literal["euler", "midpoint", "heun"]
Field = Callable[[Tensor, Tensor], Tensor]
EVALUATIONS: dict[Solver, int] = {"euler": 1, "midpoint": 2, "heun": 2}  # of the field, a step


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
def states(field: Field, noise_BLC: Tensor, steps: int, solver: Solver) -> Iterator[Tensor]:
    """x after 0, 1, ..., `steps` equal steps t_k = k / steps from noise at t = 0 to data at t = 1, each as it is made.

    `euler` costs one evaluation of the field a step, `midpoint` and `heun` two.
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


def solve(field: Field, noise_BLC: Tensor, steps: int, solver: Solver, *, keep_path: bool = False) -> Trajectory:
    """Integrate from noise at t = 0 to data at t = 1 (`states`).

    A `Guided` field counts its own evaluations of the network; any other field counts one a call.
    """
    before = field.evaluations if isinstance(field, Guided) else 0
    x, path = noise_BLC, []
    for x in states(field, noise_BLC, steps, solver):
        if keep_path:
            path.append(x)
    nfe = field.evaluations - before if isinstance(field, Guided) else steps * EVALUATIONS[solver]
    return Trajectory(x, nfe, path if keep_path else None)
