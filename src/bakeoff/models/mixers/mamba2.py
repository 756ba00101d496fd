"""Mamba-2: one decay a head, and the state space dual form [Dao and Gu 2024].

Parameters are named as in the reference implementation, so that its weights load as they are.

Shapes: B batch, L tokens, D = d_model, E = width (d_inner), H heads of P = E / H channels, G groups of N = d_state
states, C = E + 2 G N channels that are convolved, K taps.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, OneWay, draw_steps_
from bakeoff.ops import causal_conv, ssd
from bakeoff.ops import step as native
from bakeoff.ops.fused import Norm, gated

EPS = 1e-5


class Memory(NamedTuple):
    """What a forward Mamba-2 keeps of the tokens it has read: the convolution's last inputs, and the state, float32."""

    inputs_BKC: Tensor  # K - 1 of them
    state_BHPN: Tensor


class GatedNorm(nn.RMSNorm):
    """RMSNorm((y + D x) silu(z)), in float32, over each of the groups of channels by itself; (..., E) in y's dtype."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(width, eps=EPS)
        self.groups = groups

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_H1P: Tensor, z_E: Tensor, D_H: Tensor, x_HP: Tensor
    ) -> Tensor:
        z_HP = z_E.unflatten(-1, x_HP.shape[-2:])
        return gated(y_H1P, z_HP, skip=(D_H, x_HP), norm=Norm(self.weight, self.groups, EPS))


STEP_READS = native.Parameters(
    "in_proj.weight",
    "conv1d.weight",
    "conv1d.bias",
    "dt_bias",
    "A_log",
    "D",
    "norm.weight",
    "out_proj.weight",
    kinds=(nn.Linear, nn.Conv1d, GatedNorm),
)


class Mamba2(OneWay):
    """Mamba-2 block [Dao and Gu 2024, figure 6, right]; width is d_inner.

    Direction "both" runs convolution and recurrence in each direction with the same weights, adds the two results, and
    gates and norms once after the sum.

    Args:
        d_state: states of a group.
        d_conv: taps of the convolution over x, B and C together.
        heads: number of heads, which divides the width; the groups divide it.
        groups: number of B and C; each serves heads / groups heads.
    """

    expand = 2
    width_name = "d_inner"
    no_decay = ("A_log", "dt_bias", "D")
    matrices = ("in_proj.weight", "out_proj.weight")

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        d_state: int = 64,
        d_conv: int = 4,
        heads: int = 4,
        groups: int = 1,
        direction: Direction = "forward",
    ) -> None:
        super().__init__(direction)
        if width % heads or heads % groups:
            raise BakeoffError(
                f"mamba2: {heads} heads of width {width} in {groups} groups; heads must divide the width, and groups "
                "the heads."
            )
        self.d_model, self.width, self.d_state, self.d_conv = d_model, width, d_state, d_conv
        self.heads, self.groups = heads, groups
        self.convolved = width + 2 * groups * d_state
        self.in_proj = nn.Linear(d_model, width + self.convolved + heads, bias=False)
        # holds the taps under the reference's name; its own initialisation, U(+-K^-1/2), is the reference's
        self.conv1d = nn.Conv1d(self.convolved, self.convolved, d_conv, groups=self.convolved)
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.A_log = nn.Parameter(torch.empty(heads))
        self.D = nn.Parameter(torch.empty(heads))
        self.norm = GatedNorm(width, groups)
        self.out_proj = nn.Linear(width, d_model, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """dt log-uniform in [1e-3, 1e-1], A uniform in [-16, -1], D = 1: the reference implementation's choices."""
        draw_steps_(self.dt_bias)
        self.A_log.uniform_(1, 16).log_()
        self.D.fill_(1.0)

    def forward(self, x_BLD: Tensor) -> Tensor:
        z_BLE, xBC_BLC, dt_BLH = self._projected(x_BLD)
        mixed = [self._mixed(xBC_BLC, dt_BLH, reverse) for reverse in self.directions]
        y_BLH1P, x_BLHP = (sum(parts[1:], parts[0]) for parts in zip(*mixed, strict=True))
        return self.out_proj(self.norm(y_BLH1P, z_BLE, self.D, x_BLHP))

    def _projected(self, x: Tensor) -> tuple[Tensor, ...]:
        """z, what is convolved, and dt before its bias and softplus."""
        return self.in_proj(x).split([self.width, self.convolved, self.heads], dim=-1)

    def _mixed(self, xBC_BLC: Tensor, dt_BLH: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
        """y (B, L, H, 1, P) before the skip, and x (B, L, H, P)."""
        u_BLC = causal_conv(xBC_BLC, self._taps, self.conv1d.bias, reverse=reverse)
        x_BLHP, *rest = self._inputs(u_BLC, dt_BLH)
        return ssd(*rest, reverse=reverse), x_BLHP

    def _inputs(self, u: Tensor, dt: Tensor) -> tuple[Tensor, ...]:
        """x by heads, then the operator's: q = C, k = B, v = x with one rank, the log decay, and dt twice."""
        x, B, C = u.split([self.width, *[self.groups * self.d_state] * 2], dim=-1)
        x, B, C = (
            part.unflatten(-1, (count, -1)) for part, count in ((x, self.heads), (B, self.groups), (C, self.groups))
        )
        dt = F.softplus(dt.float() + self.dt_bias)
        return x, C.unsqueeze(-2), B.unsqueeze(-2), x.unsqueeze(-2), -dt * torch.exp(self.A_log.float()), dt, dt

    @property
    def _taps(self) -> Tensor:
        return self.conv1d.weight.squeeze(1)

    def start(self, B: int) -> Memory:
        self.require_forward()
        new, P = self.conv1d.weight.new_zeros, self.width // self.heads
        return Memory(new(B, self.d_conv - 1, self.convolved), new(B, self.heads, P, self.d_state, dtype=torch.float32))

    def prefill(self, x_BLD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        z_BLE, xBC_BLC, dt_BLH = self._projected(x_BLD)
        read_BLC = torch.cat([state.inputs_BKC.to(xBC_BLC.dtype), xBC_BLC], 1)
        u_BLC = causal_conv(read_BLC, self._taps, self.conv1d.bias)[:, self.d_conv - 1 :]
        x_BLHP, *rest = self._inputs(u_BLC, dt_BLH)
        y_BLH1P, state_BHPN = ssd(*rest, initial_state_BHPN=state.state_BHPN, return_final_state=True)
        y_BLE = self.norm(y_BLH1P, z_BLE, self.D, x_BLHP)
        return self.out_proj(y_BLE), Memory(read_BLC[:, x_BLD.shape[1] :], state_BHPN)

    def step(self, x_BD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        if native.serves(given := self._native_inputs(x_BD, state)):
            assert given is not None
            y_BD, *memory = native.mamba2(given, self.d_state, self.groups, EPS)
            return y_BD, Memory(*memory)
        z_BE, xBC_BC, dt_BH = self._projected(x_BD)
        read_BKC = torch.cat([state.inputs_BKC.to(xBC_BC.dtype), xBC_BC.unsqueeze(1)], 1)
        bias_C = self.conv1d.bias
        assert bias_C is not None
        u_BC = F.silu((read_BKC * self._taps.t()).sum(1) + bias_C)
        x_BHP, C, B, _, decay_BH, dt_BH, _ = self._inputs(u_BC, dt_BH)
        B_BHN, C_BHN = (one.squeeze(-2).repeat_interleave(self.heads // self.groups, 1).float() for one in (B, C))
        added = (dt_BH.unsqueeze(-1) * x_BHP.float()).unsqueeze(-1) * B_BHN.unsqueeze(-2)
        state_BHPN = decay_BH.exp()[..., None, None] * state.state_BHPN + added
        y_BH1P = (state_BHPN @ C_BHN.unsqueeze(-1)).transpose(-1, -2).to(x_BHP.dtype)
        return self.out_proj(self.norm(y_BH1P, z_BE, self.D, x_BHP)), Memory(read_BKC[:, 1:], state_BHPN)

    def _native_inputs(self, x_BD: Tensor, state: Memory) -> native.Mamba2Inputs | None:
        """What the kernel of a step reads, the parameters where they are."""
        read = STEP_READS.of(self)
        return None if read is None else native.Mamba2Inputs._make((x_BD, *state, *read))

    def flops(self, L: int) -> int:
        """Of the recurrence, not of the chunks, whose work depends on their length."""
        D, E, C, N = self.d_model, self.width, self.convolved, self.d_state
        one_direction = 2 * C * self.d_conv + 5 * E * N
        return L * (2 * D * (E + C + self.heads) + len(self.directions) * one_direction + 5 * E + 2 * E * D)

    def state_bytes(self, L: int) -> int:
        state = (self.width * self.d_state + (self.d_conv - 1) * self.convolved) * FLOAT_BYTES
        return self.with_reverse(state, L)
