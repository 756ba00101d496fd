"""The velocity model: token embedding, positions, a backbone of conditioned branches, and the flow head.

Shapes: B batch, L tokens, C values a token, D = d_model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bakeoff.models import costs
from bakeoff.models.conditioning import (
    AdaLNBranch,
    AdaLNHead,
    Condition,
    Conditioning,
    PlainBranch,
    TimeHead,
    sinusoidal,
)

Positions = Literal["none", "sinusoidal", "learned"]


@dataclass(frozen=True)
class Frame:
    """All of a velocity model that is not its mixers: the same for every backbone of one protocol."""

    tokens: int
    channels: int
    d_model: int
    positions: Positions
    conditioning: Conditioning
    classes: int  # 0: unconditional


class VelocityModel(nn.Module):
    """v_hat(x_t, t, label): (B, L, C), (B,) in [0, 1], (B,) integer or None -> (B, L, C)."""

    def __init__(self, frame: Frame, mixers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.frame = frame
        D, adaln = frame.d_model, frame.conditioning == "adaln"
        self.embed = nn.Linear(frame.channels, D)
        self.positions: Tensor | None
        if frame.positions == "learned":
            self.positions = nn.Parameter(0.02 * torch.randn(frame.tokens, D))
        elif frame.positions == "sinusoidal":
            self.register_buffer("positions", sinusoidal(torch.arange(frame.tokens), D), persistent=False)
        else:
            self.positions = None
        self.condition = Condition(D, frame.classes)
        branch = AdaLNBranch if adaln else PlainBranch
        self.branches = nn.ModuleList(branch(mixer, D) for mixer in mixers)
        self.head = (AdaLNHead if adaln else TimeHead)(D, frame.channels)

    def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
        h_BLD = self.embed(x_BLC)
        if self.positions is not None:
            h_BLD = h_BLD + self.positions
        c_BD = self.condition(t_B, labels_B)
        for branch in self.branches:
            h_BLD = branch(h_BLD, c_BD)
        return self.head(h_BLD, c_BD)

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def flops(self) -> int:
        """FLOPs of one sample's forward pass: matrix products, convolutions and scans."""
        L, D = self.frame.tokens, self.frame.d_model
        trunk = 2 * L * self.embed.weight.numel() + self.condition.flops() + self.head.flops(L)
        branches = sum(branch.flops() + costs.flops(branch.mixer, L, D) for branch in self._branches())
        return trunk + branches

    def state_bytes(self) -> int:
        """Bytes that generation token by token would keep, all mixers together, float32."""
        L, D = self.frame.tokens, self.frame.d_model
        return sum(costs.state_bytes(branch.mixer, L, D) for branch in self._branches())

    def _branches(self) -> list[AdaLNBranch | PlainBranch]:
        return list(self.branches)  # type: ignore[arg-type]
