"""A mixer of one's own: a gated linear recurrence, h_t = a_t h_{t-1} + (1 - a_t) v_t with a_t = sigmoid(W x_t).

bakeoff check-plugin gated_recurrence:GatedRecurrence
bakeoff run gated_recurrence.toml --allow-plugins
"""

import torch
from torch import Tensor, nn


class GatedRecurrence(nn.Module):
    def __init__(self, d_model: int, width: int, *, slowest: float = 0.99) -> None:
        super().__init__()
        self.d_model, self.width = d_model, width
        self.project = nn.Linear(d_model, 3 * width)
        self.out = nn.Linear(width, d_model)
        decay = torch.linspace(0.5, slowest, width)
        self.decay = nn.Parameter(torch.log(decay / (1 - decay)))  # sigmoid(decay) is where every channel starts

    def forward(self, x_BLD: Tensor) -> Tensor:
        value, keep, gate = self.project(x_BLD).chunk(3, dim=-1)
        keep = torch.sigmoid(keep + self.decay)
        h, states = torch.zeros_like(value[:, 0]), []
        for v, a in zip(value.unbind(1), keep.unbind(1), strict=True):
            h = a * h + (1 - a) * v
            states.append(h)
        return self.out(torch.stack(states, 1) * nn.functional.silu(gate))

    def flops(self, L: int) -> int:
        return L * (2 * self.d_model * 3 * self.width + 2 * self.width * self.d_model + 4 * self.width)

    def state_bytes(self, L: int) -> int:
        return 4 * self.width
