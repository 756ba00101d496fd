"""How the time of a training item is drawn: uniformly, or so that its logit is normal."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

Kind = Literal["uniform", "logit-normal"]


@dataclass(frozen=True)
class TimeLaw:
    """U(0, 1), or sigmoid of N(mean, std^2) [Esser et al. 2024]."""

    kind: Kind = "uniform"
    mean: float = 0.0
    std: float = 1.0

    def draw(self, count: int, g: Generator) -> Tensor:
        """(count,) float32 on the CPU."""
        if self.kind == "uniform":
            return torch.rand(count, generator=g)
        return (self.mean + self.std * torch.randn(count, generator=g)).sigmoid()

    def quantile(self, u: Tensor) -> Tensor:
        """The time below which the share u of all times is drawn, of any shape and type."""
        if self.kind == "uniform":
            return u
        return (self.mean + self.std * torch.special.ndtri(u)).sigmoid()
