"""Gaussian paths from noise to data: x_t = a x + s e, of data x and noise e ~ N(0, I), with a and s functions of time.

Time runs from 0 (noise) to 1 (data) on every path, so that one network input serves all. Two paths:

    linear    a = t, s = 1 - t                                                 [Lipman et al. 2023; Liu et al. 2023]
    discrete  a_k^2 = (1 - beta_0) ... (1 - beta_k), s_k^2 = 1 - a_k^2, at t = 1 - k / T, k below T [Ho et al. 2020]

Shapes: B items, any shape of times.
"""

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import Literal

import torch
from torch import Tensor

TRAINED = 1000  # T, steps of the discrete path
Betas = Literal["linear", "cosine"]
Grid = Literal["trailing", "leading", "flow"]


class Path(ABC):
    """A path, and the times at which a solver may stand on it.

    Attributes:
        least: a prediction's determinant is divided by as no less than this.
        ends: whether the data themselves are a point of it, at t = 1.
    """

    least: float
    ends: bool

    @abstractmethod
    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """a and s at these times, of their shape and type."""

    @abstractmethod
    def time_of(self, u: Tensor) -> Tensor:
        """The time at which a / (a + s), the time of the linear path, is u; or the nearest one."""

    @abstractmethod
    def even(self, count: int) -> Tensor:
        """(count,) float32: times that are spread evenly over those of training."""

    @abstractmethod
    def grid(self, steps: int, kind: Grid) -> list[float]:
        """The times of `steps` evaluations, from noise on; the data follow after the last."""


class Linear(Path):
    """a = t, s = 1 - t; 1 - t is divided by as no less than 0.05 [Li and He 2025], and so is t."""

    least = 0.05
    ends = True

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t, 1 - t

    def time_of(self, u: Tensor) -> Tensor:
        return u

    def even(self, count: int) -> Tensor:
        return (torch.arange(count) + 0.5) / count

    def grid(self, steps: int, kind: Grid) -> list[float]:
        return [step / steps for step in range(steps)]


class Discrete(Path):
    """The variance-preserving path of DDPM, a^2 + s^2 = 1, in T steps.

    Between two steps, where only solvers of the flow stand, log(a / s) is interpolated linearly.

    Args:
        betas: "linear", equally spaced from 1e-4 to 0.02 [Ho et al. 2020], or "cosine" [Nichol and Dhariwal 2021].
    """

    least = 0.0
    ends = False

    def __init__(self, betas: Betas = "linear") -> None:
        self._squares_K = squared_signal(betas)
        self._logits_K = torch.logit(self._squares_K)  # the logit of a^2 is 2 log(a / s)
        self._placed: dict[torch.device, Tensor] = {}  # copies of it

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        k = ((1 - t.double()) * TRAINED).clamp(0, TRAINED - 1)
        k = torch.where((k - k.round()).abs() < 1e-3, k.round(), k)  # of float32 times
        below = k.floor().long().clamp(max=TRAINED - 2)
        logits_K = self._on(t.device)
        logit = torch.lerp(logits_K[below], logits_K[below + 1], k - below)
        return logit.sigmoid().sqrt().to(t.dtype), (-logit).sigmoid().sqrt().to(t.dtype)

    def time_of(self, u: Tensor) -> Tensor:
        wanted = 2 * torch.logit(u.double())
        falling_K = self._on(u.device)
        above = torch.searchsorted(-falling_K, -wanted).clamp(1, TRAINED - 1)
        high, low = falling_K[above - 1], falling_K[above]
        k = (above - 1 + ((high - wanted) / (high - low)).clamp(0, 1)).clamp(0, TRAINED - 1)
        return (1 - k / TRAINED).to(u.dtype)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._placed:
            self._placed[device] = self._logits_K.to(device)
        return self._placed[device]

    def even(self, count: int) -> Tensor:
        return self.times(((torch.arange(count) + 0.5) * TRAINED / count).long())

    @staticmethod
    def times(k: Tensor) -> Tensor:
        """The network's time at step k, float32."""
        return 1 - k.float() / TRAINED

    def grid(self, steps: int, kind: Grid) -> list[float]:
        return [1 - k / TRAINED for k in self.steps(steps, kind)]

    def steps(self, count: int, kind: Grid) -> list[int]:
        """Which k, from high to low.

        "leading" is i T / n, rounded down [Song et al. 2021], which never starts at T - 1; "trailing" is
        T - i T / n - 1 [Lin et al. 2024]; "flow" are those whose time on the linear path, a / (a + s), is nearest to
        i / n.
        """
        if kind == "leading":
            return [i * TRAINED // count for i in reversed(range(count))]
        if kind == "trailing":
            return [round(TRAINED - i * TRAINED / count) - 1 for i in range(count)]
        flow_time_K = (self._logits_K / 2).sigmoid()  # a / (a + s)
        found = [int((flow_time_K - i / count).abs().argmin()) for i in range(count)]
        return list(dict.fromkeys(found))


@cache
def squared_signal(betas: Betas) -> Tensor:
    """(T,) float64: a_k^2, the product of 1 - beta up to k."""
    if betas == "linear":
        return (1 - torch.linspace(1e-4, 0.02, TRAINED, dtype=torch.float64)).cumprod(0)

    def left(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    kept = [max(left((k + 1) / TRAINED) / left(k / TRAINED), 1 - 0.999) for k in range(TRAINED)]
    return torch.tensor(kept, dtype=torch.float64).cumprod(0)
