"""Mamba-1: a selective state space model [Gu and Dao 2023].

Shapes: B batch, L tokens, D = d_model, E = width (d_inner), N = d_state, R = rank of dt, K taps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, Mixer
from bakeoff.ops import causal_conv, selective_scan


class Mamba(Mixer):
    """Mamba-1 block [Gu and Dao 2023, figure 3]; width is d_inner.

    Direction "both" runs convolution and scan in each direction with the same weights, adds the two results, and
    gates once after the sum [after Hydra, Hwang et al. 2024].
    """

    expand = 2
    width_name = "d_inner"
    reads = "one way"
    no_decay = ("A_log", "dt_bias", "D", "conv_bias")

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        d_state: int = 16,
        d_conv: int = 4,
        direction: Direction = "forward",
    ) -> None:
        super().__init__()
        self.d_model, self.width, self.d_state, self.d_conv = d_model, width, d_state, d_conv
        self.directions = (False, True) if direction == "both" else (direction == "reverse",)
        self.dt_rank = math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv_weight = nn.Parameter(torch.empty(width, d_conv))
        self.conv_bias = nn.Parameter(torch.empty(width))
        self.x_proj = nn.Linear(width, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, width, bias=False)
        self.dt_bias = nn.Parameter(torch.empty(width))
        self.A_log = nn.Parameter(torch.empty(width, d_state))
        self.D = nn.Parameter(torch.empty(width))
        self.out_proj = nn.Linear(width, d_model, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """dt log-uniform in [1e-3, 1e-1], A = -(1..N), D = 1: the reference implementation's choices."""
        bound = self.d_conv**-0.5
        self.conv_weight.uniform_(-bound, bound)
        self.conv_bias.uniform_(-bound, bound)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        low, high = math.log(1e-3), math.log(1e-1)
        dt = self.dt_bias.uniform_(low, high).exp().clamp(min=1e-4)
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse of softplus
        self.A_log.copy_(torch.arange(1, self.d_state + 1).log().expand(self.width, -1))
        self.D.fill_(1.0)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLE, z_BLE = self.in_proj(x_BLD).chunk(2, dim=-1)
        if len(self.directions) == 1:
            return self.out_proj(self._scan(x_BLE, z_BLE, self.directions[0]))
        y_BLE = self._scan(x_BLE, None, False) + self._scan(x_BLE, None, True)
        return self.out_proj(y_BLE * F.silu(z_BLE))

    def _scan(self, x_BLE: Tensor, z_BLE: Tensor | None, reverse: bool) -> Tensor:
        u_BLE = causal_conv(x_BLE, self.conv_weight, self.conv_bias, reverse=reverse)
        low_BLR, B_BLN, C_BLN = self.x_proj(u_BLE).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        A_EN = -torch.exp(self.A_log.float())
        return selective_scan(
            u_BLE,
            self.dt_proj(low_BLR),
            A_EN,
            B_BLN,
            C_BLN,
            self.D,
            z_BLD=z_BLE,
            dt_bias_D=self.dt_bias,
            reverse=reverse,
        )

    def flops(self, L: int) -> int:
        D, E, N, R, K = self.d_model, self.width, self.d_state, self.dt_rank, self.d_conv
        one_direction = 2 * E * K + 2 * E * (R + 2 * N) + 2 * R * E + 9 * E * N
        return L * (2 * D * 2 * E + len(self.directions) * one_direction + 2 * E * D)

    def state_bytes(self, L: int) -> int:
        state = self.width * (self.d_state + self.d_conv - 1) * FLOAT_BYTES
        if len(self.directions) == 1:
            return state
        return state + L * self.width * FLOAT_BYTES  # the reverse scan needs all tokens
