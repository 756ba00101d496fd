"""Mamba-1: a selective state space model [Gu and Dao 2023].

Shapes: B batch, L tokens, D = d_model, E = width (d_inner), N = d_state, R = rank of dt, K taps.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, OneWay, draw_steps_
from bakeoff.models.mixers.discretise import Rule, coefficients, scan
from bakeoff.ops import causal_conv, selective_scan
from bakeoff.ops import step as native

REFERENCE_NAMES = {
    "conv1d.weight": "conv_weight",
    "conv1d.bias": "conv_bias",
    "dt_proj.bias": "dt_bias",
}  # theirs, ours
ScanInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]


class Memory(NamedTuple):
    """What a forward Mamba keeps of the tokens it has read: the convolution's last inputs, and the state, float32."""

    inputs_BKE: Tensor  # K - 1 of them
    state_BEN: Tensor


class Mamba(OneWay):
    """Mamba-1 block [Gu and Dao 2023, figure 3]; width is d_inner.

    Direction "both" runs convolution and scan in each direction with the same weights, adds the two results, and
    gates once after the sum [after Hydra, Hwang et al. 2024].

    Args:
        selective: whether dt, B and C depend on the token. Where they do not, the scan is linear and the same at every
            token, with real A as in S4D-Real [Gu et al. 2022]: dt = softplus(dt_bias), B and C are parameters.
        discretise: how the continuous system becomes a recurrence; "none": there is no system, the decay is a gate.
    """

    expand = 2
    width_name = "d_inner"
    no_decay = ("A_log", "dt_bias", "D", "conv_bias", "B", "C")
    matrices = ("in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight")

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        d_state: int = 16,
        d_conv: int = 4,
        direction: Direction = "forward",
        selective: bool = True,
        discretise: Rule = "exponential",
    ) -> None:
        super().__init__(direction)
        self.selective = selective
        self.rule: Rule = discretise
        self.d_model, self.width, self.d_state, self.d_conv = d_model, width, d_state, d_conv
        self.dt_rank = math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv_weight = nn.Parameter(torch.empty(width, d_conv))
        self.conv_bias = nn.Parameter(torch.empty(width))
        if selective:
            self.x_proj = nn.Linear(width, self.dt_rank + 2 * d_state, bias=False)
            self.dt_proj = nn.Linear(self.dt_rank, width, bias=False)
        else:
            self.B = nn.Parameter(torch.empty(d_state))
            self.C = nn.Parameter(torch.empty(d_state))
        self.dt_bias = nn.Parameter(torch.empty(width))
        if discretise != "none":
            self.A_log = nn.Parameter(torch.empty(width, d_state))
        self.D = nn.Parameter(torch.empty(width))
        self.out_proj = nn.Linear(width, d_model, bias=False)
        selected = ("x_proj.weight", "dt_proj.weight", None, None) if selective else (None, None, "B", "C")
        A_log = None if discretise == "none" else "A_log"
        of_conv = "in_proj.weight", "conv_weight", "conv_bias"
        self._step_reads = native.Parameters(*of_conv, *selected, "dt_bias", A_log, "D", "out_proj.weight")
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """dt log-uniform in [1e-3, 1e-1], A = -(1..N), D = 1: the reference implementation's choices."""
        bound = self.d_conv**-0.5
        self.conv_weight.uniform_(-bound, bound)
        self.conv_bias.uniform_(-bound, bound)
        if self.selective:
            nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        else:  # S4D's choices
            self.B.fill_(1.0)
            self.C.normal_()
        draw_steps_(self.dt_bias)
        if self.rule != "none":
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
        inputs = self._inputs(u_BLE, z_BLE)
        if self.rule == "exponential":
            return selective_scan(*inputs, reverse=reverse)
        return scan(self.rule, *inputs, reverse=reverse)[0]

    def _inputs(self, u_BLE: Tensor, z_BLE: Tensor | None) -> ScanInputs:
        """The scan's: u, dt before its bias and softplus, A, B, C, D, z and dt's bias."""
        dt_BLE, B_BLN, C_BLN = self._selected(u_BLE)
        return u_BLE, dt_BLE, self._A, B_BLN, C_BLN, self.D, z_BLE, self.dt_bias

    @property
    def _A(self) -> Tensor:
        """(E, N) float32, below 0; -1 where there is no system."""
        if self.rule == "none":
            return self.D.new_full((self.width, self.d_state), -1.0, dtype=torch.float32)
        return -torch.exp(self.A_log.float())

    def start(self, B: int) -> Memory:
        self.require_forward()
        new = self.conv_weight.new_zeros
        return Memory(new(B, self.d_conv - 1, self.width), new(B, self.width, self.d_state, dtype=torch.float32))

    def prefill(self, x_BLD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        x_BLE, z_BLE = self.in_proj(x_BLD).chunk(2, dim=-1)
        read_BLE = torch.cat([state.inputs_BKE.to(x_BLE.dtype), x_BLE], 1)
        u_BLE = causal_conv(read_BLE, self.conv_weight, self.conv_bias)[:, self.d_conv - 1 :]
        inputs, before = self._inputs(u_BLE, z_BLE), state.state_BEN
        if self.rule == "exponential":
            y_BLE, state_BEN = selective_scan(*inputs, initial_state_BDN=before, return_final_state=True)
        else:
            y_BLE, state_BEN = scan(self.rule, *inputs, initial_BEN=before)
        return self.out_proj(y_BLE), Memory(read_BLE[:, x_BLE.shape[1] :], state_BEN)

    def step(self, x_BD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        if native.serves(given := self._native_inputs(x_BD, state)):
            assert given is not None
            y_BD, *memory = native.mamba(given, self.rule, self.d_state)
            return y_BD, Memory(*memory)
        x_BE, z_BE = self.in_proj(x_BD).chunk(2, dim=-1)
        read_BKE = torch.cat([state.inputs_BKE.to(x_BE.dtype), x_BE.unsqueeze(1)], 1)
        u_BE = F.silu((read_BKE * self.conv_weight.t()).sum(1) + self.conv_bias)
        dt_BE, B_BN, C_BN = (part.float() for part in self._selected(u_BE))
        decay_BEN, weight_BE1 = coefficients(self.rule, (dt_BE + self.dt_bias).unsqueeze(-1), self._A)
        state_BEN = decay_BEN * state.state_BEN + weight_BE1 * u_BE.unsqueeze(-1) * B_BN.unsqueeze(1)
        y_BE = (state_BEN @ C_BN.unsqueeze(-1)).squeeze(-1) + self.D * u_BE
        return self.out_proj((y_BE * F.silu(z_BE)).to(x_BE.dtype)), Memory(read_BKE[:, 1:], state_BEN)

    def _native_inputs(self, x_BD: Tensor, state: Memory) -> native.MambaInputs | None:
        """What the kernel of a step reads, the parameters where they are."""
        read = self._step_reads.of(self)
        return None if read is None else native.MambaInputs._make((x_BD, *state, *read))

    def _selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dt before its bias and softplus, B and C, of each token."""
        if not self.selective:
            of_all = (*u.shape[:-1], self.d_state)
            B, C = (one.to(u.dtype).expand(of_all) for one in (self.B, self.C))
            return torch.zeros_like(u), B, C
        low, B, C = self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        return self.dt_proj(low), B, C

    @staticmethod
    def renamed(reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state dict of the reference implementation, or of transformers' MambaMixer, under the names used here."""
        ours = {REFERENCE_NAMES.get(name, name): one for name, one in reference.items()}
        return ours | {"conv_weight": ours["conv_weight"].squeeze(1)}

    def flops(self, L: int) -> int:
        D, E, N, R, K = self.d_model, self.width, self.d_state, self.dt_rank, self.d_conv
        projections = 2 * E * (R + 2 * N) + 2 * R * E if self.selective else 0
        one_direction = 2 * E * K + projections + 9 * E * N
        return L * (2 * D * 2 * E + len(self.directions) * one_direction + 2 * E * D)

    def state_bytes(self, L: int) -> int:
        state = self.width * (self.d_state + self.d_conv - 1) * FLOAT_BYTES
        return self.with_reverse(state, L)
