"""The multilayer perceptron of a Transformer block, token by token."""

import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import Mixer


class Mlp(Mixer):
    """Two linear maps with GELU between them, token by token; width is the hidden width."""

    expand = 4
    width_name = "mlp_width"
    reads = "token"

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.d_model, self.width = d_model, width
        self.up = nn.Linear(d_model, width)
        self.down = nn.Linear(width, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BLD)))

    def start(self, B: int) -> None:
        return None

    def prefill(self, x_BLD: Tensor, state: None) -> tuple[Tensor, None]:
        return self(x_BLD), None

    def step(self, x_BD: Tensor, state: None) -> tuple[Tensor, None]:
        return self(x_BD), None

    def flops(self, L: int) -> int:
        return L * 4 * self.d_model * self.width

    def state_bytes(self, L: int) -> int:
        return 0
