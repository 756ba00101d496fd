"""A short convolution alone: the control that sees its neighbours and nothing further.

Shapes: B batch, L tokens, D = d_model, W = width, K taps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, OneWay
from bakeoff.ops import causal_conv


class Conv(OneWay):
    """Mamba's block without its scan: a causal depthwise convolution, SiLU and a gate; width is d_inner.

    Args:
        d_conv: taps: the token itself and those before it.
    """

    expand = 2
    width_name = "d_inner"
    matrices = ("in_proj.weight", "out_proj.weight")

    def __init__(self, d_model: int, width: int, *, d_conv: int = 4, direction: Direction = "forward") -> None:
        super().__init__(direction)
        self.d_model, self.width, self.d_conv = d_model, width, d_conv
        self.in_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv1d = nn.Conv1d(width, width, d_conv, groups=width)  # holds the taps, as Mamba begins with them
        self.out_proj = nn.Linear(width, d_model, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLW, z_BLW = self.in_proj(x_BLD).chunk(2, dim=-1)
        taps_WK = self.conv1d.weight.squeeze(1)
        read = [causal_conv(x_BLW, taps_WK, self.conv1d.bias, reverse=reverse) for reverse in self.directions]
        return self.out_proj(torch.stack(read).sum(0) * F.silu(z_BLW))

    def start(self, B: int) -> Tensor:
        self.require_forward()
        return self.out_proj.weight.new_zeros(B, self.d_conv - 1, self.width)

    def prefill(self, x_BLD: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x_BLW, z_BLW = self.in_proj(x_BLD).chunk(2, dim=-1)
        read_BLW = torch.cat([state.to(x_BLW.dtype), x_BLW], 1)
        u_BLW = causal_conv(read_BLW, self.conv1d.weight.squeeze(1), self.conv1d.bias)[:, self.d_conv - 1 :]
        return self.out_proj(u_BLW * F.silu(z_BLW)), read_BLW[:, x_BLD.shape[1] :]

    def flops(self, L: int) -> int:
        D, W = self.d_model, self.width
        return L * (2 * D * 2 * W + len(self.directions) * 2 * W * self.d_conv + 2 * W * D)

    def state_bytes(self, L: int) -> int:
        return len(self.directions) * (self.d_conv - 1) * self.width * FLOAT_BYTES
