"""Mixers side by side: one layer whose mixers all read the same input.

Shapes: B batch, L tokens, D = d_model, M mixers.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models import costs
from bakeoff.models.mixers.base import step
from bakeoff.protocol.sections.mixers import Combine

EPS = 1e-6


class Parallel(nn.Module):
    """The outputs of several mixers, combined.

    "sum": their sum, each through its own output projection [Falcon-H1, 2025]. "mean": W (sum_m b_m RMSNorm(y_m)) / M
    with a scale b_m for every mixer and channel [Hymba, Dong et al. 2024]; there the norms stand before the mixers' own
    output projections, which here belong to the mixers.
    """

    no_decay = ("scales",)
    matrices = ("out_proj.weight",)

    def __init__(self, mixers: Sequence[nn.Module], d_model: int, combine: Combine) -> None:
        super().__init__()
        self.d_model = d_model
        self.mixers = nn.ModuleList(mixers)
        self.scales = nn.Parameter(torch.ones(len(mixers), d_model)) if combine == "mean" else None
        self.out_proj = nn.Linear(d_model, d_model, bias=False) if combine == "mean" else None

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self._combined([mixer(x_BLD) for mixer in self.mixers])

    def _combined(self, ys: list[Tensor]) -> Tensor:
        if self.scales is None or self.out_proj is None:
            return torch.stack(ys).sum(0)
        normed = [
            scale * F.rms_norm(y.float(), y.shape[-1:], eps=EPS) for scale, y in zip(self.scales, ys, strict=True)
        ]
        return self.out_proj((torch.stack(normed).sum(0) / len(ys)).to(ys[0].dtype))

    def start(self, B: int) -> list[Any]:
        return [mixer.start(B) for mixer in self.mixers]  # type: ignore[operator]

    def prefill(self, x_BLD: Tensor, state: list[Any]) -> tuple[Tensor, list[Any]]:
        read = [mixer.prefill(x_BLD, one) for mixer, one in zip(self.mixers, state, strict=True)]  # type: ignore[operator]
        return self._combined([y for y, _ in read]), [one for _, one in read]

    def step(self, x_BD: Tensor, state: list[Any]) -> tuple[Tensor, list[Any]]:
        read = [step(mixer, x_BD, one) for mixer, one in zip(self.mixers, state, strict=True)]
        return self._combined([y for y, _ in read]), [one for _, one in read]

    def flops(self, L: int) -> int:
        projection = 0 if self.out_proj is None else 2 * L * self.d_model**2
        return projection + sum(costs.flops(mixer, L, self.d_model) for mixer in self.mixers)

    def state_bytes(self, L: int) -> int:
        return sum(costs.state_bytes(mixer, L, self.d_model) for mixer in self.mixers)


def alone(mixers: Sequence[nn.Module]) -> list[nn.Module]:
    """The mixers themselves, those that stand side by side one by one."""
    return [one for mixer in mixers for one in (mixer.mixers if isinstance(mixer, Parallel) else [mixer])]
