"""Mamba-3: a trapezoidal recurrence, queries and keys that turn with the data, and several ranks a token
[Lahoti et al. 2026].

Parameters are named as in the reference implementation. Its MIMO kernels pair channels i and i + N/2 where its SISO
kernels pair 2i and 2i + 1: a permutation of the states; here it is always 2i and 2i + 1.

Shapes: B batch, L tokens, D = d_model, E = width (d_inner), H heads of P = E / H channels, G groups, R ranks,
N = d_state, S angles.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, OneWay, draw_steps_
from bakeoff.ops import ssd
from bakeoff.ops import step as native
from bakeoff.ops.fused import Scales, gated, ranked, turned, turned_pair

EPS = 1e-5
SLOWEST = -1e-4  # the decay rate A is never nearer to 0
Decay = Literal["softplus", "heavy_tail"]


class Memory(NamedTuple):
    """What a forward Mamba-3 keeps of the tokens it has read; all float32."""

    state_BHPN: Tensor
    k_BGRN: Tensor  # the last token's, before bias and rotation
    x_BHP: Tensor  # the last token's
    angle_BHS: Tensor  # turned so far


class Token(NamedTuple):
    """What the projection gives for each token: (..., axis) for any leading axes."""

    z_HP: Tensor
    x_HP: Tensor
    k_GRN: Tensor  # before bias and rotation
    q_GRN: Tensor
    dt_H: Tensor  # the step
    log_decay_H: Tensor
    lam_H: Tensor  # the share of the step that the token itself takes; 1: Euler, 1/2: the trapezoid
    turn_HS: Tensor  # by how much the token turns queries and keys

    def flipped(self) -> "Token":
        return Token(*(part.flip(1) for part in self))


class Mamba3(OneWay):
    """Mamba-3 block [Lahoti et al. 2026], SISO with one rank and MIMO with more; width is d_inner.

        h_t = alpha_t h_{t-1} + (1 - lam_t) dt_t alpha_t v_{t-1} k_{t-1}^T + lam_t dt_t v_t k_t^T ;  y_t = h_t q_t

    with alpha_t = exp(dt_t A_t), and q and k rotated by the running sum of dt theta. Direction "both" runs the
    recurrence in each direction with the same weights, adds the two results, and gates once after the sum.

    Args:
        d_state: states of a group, at least 4.
        heads, groups: heads divide the width, groups the heads; bias and angle make queries and keys each head's own.
        rank: queries, keys and values of a token; values and gates are the token's, scaled for each rank.
        decay: A = -softplus(a), as published, or -(1 + a) for a >= 0 and -1 / (1 - a) below, as the reference has
            since June 2026. They differ in how slowly a head can forget.
        rope_fraction: the share of the states that turn.
        bias, trapezoid, rotation: parts of the block that the paper leaves out by turns.
        out_norm: RMSNorm of each head before the gate; the paper leaves it out in pure models.
    """

    expand = 2
    width_name = "d_inner"
    no_decay = ("dt_bias", "D", "B_bias", "C_bias", "mimo_x", "mimo_z", "mimo_o")
    matrices = ("in_proj.weight", "out_proj.weight")

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        d_state: int = 64,
        heads: int = 4,
        groups: int = 1,
        rank: int = 1,
        decay: Decay = "softplus",
        rope_fraction: float = 0.5,
        bias: bool = True,
        trapezoid: bool = True,
        rotation: bool = True,
        out_norm: bool = False,
        direction: Direction = "forward",
    ) -> None:
        super().__init__(direction)
        if width % heads or heads % groups:
            raise BakeoffError(
                f"mamba3: {heads} heads of width {width} in {groups} groups; heads must divide the width, and groups "
                "the heads."
            )
        if d_state < 4:
            raise BakeoffError(f"mamba3: d_state = {d_state}; allowed: 4 or more, so that a pair of states can turn.")
        self.d_model, self.width, self.d_state, self.heads, self.groups = d_model, width, d_state, heads, groups
        self.rank, self.trapezoid = rank, trapezoid
        self.decay: Decay = decay
        self.angles = int(d_state * rope_fraction) // 2 if rotation else 0
        shared = groups * rank * d_state
        self.parts = [width, width, shared, shared, heads, heads, heads if trapezoid else 0, self.angles]
        self.in_proj = nn.Linear(d_model, sum(self.parts), bias=False)
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.B_bias = nn.Parameter(torch.empty(heads, rank, d_state)) if bias else None
        self.C_bias = nn.Parameter(torch.empty(heads, rank, d_state)) if bias else None
        self.B_norm, self.C_norm = nn.RMSNorm(d_state, eps=EPS), nn.RMSNorm(d_state, eps=EPS)
        if rank > 1:
            self.mimo_x = nn.Parameter(torch.empty(heads, rank, width // heads))
            self.mimo_z = nn.Parameter(torch.empty(heads, rank, width // heads))
            self.mimo_o = nn.Parameter(torch.empty(heads, rank, width // heads))
        self.D = nn.Parameter(torch.empty(heads))
        self.norm = nn.RMSNorm(width, eps=EPS) if out_norm else None  # holds the weight; a head is normed by itself
        self.out_proj = nn.Linear(width, d_model, bias=False)
        self._step_reads = native.Parameters(
            *("in_proj.weight", "dt_bias", "B_bias", "C_bias", "B_norm.weight", "C_norm.weight"),
            *(("mimo_x", "mimo_z", "mimo_o") if rank > 1 else (None, None, None)),
            *("D", "norm.weight" if out_norm else None, "out_proj.weight"),
            kinds=(nn.Linear, nn.RMSNorm),
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """dt log-uniform in [1e-3, 1e-1], biases and D 1, ranks a mean: the reference implementation's choices."""
        draw_steps_(self.dt_bias)
        for one in (self.B_bias, self.C_bias, self.D):
            if one is not None:
                one.fill_(1.0)
        if self.rank > 1:
            self.mimo_x.fill_(1 / self.rank)
            self.mimo_z.fill_(1.0)
            self.mimo_o.fill_(1 / self.rank)

    def forward(self, x_BLD: Tensor) -> Tensor:
        token = self._projected(x_BLD)
        first, *others = (self._mixed(token, reverse) for reverse in self.directions)
        return self._out(sum(others, first), token, len(self.directions) * self.D)

    def _projected(self, x: Tensor) -> Token:
        z, x, B, C, dt, a, trap, angle = self.in_proj(x).split(self.parts, dim=-1)
        z, x = (one.unflatten(-1, (self.heads, -1)) for one in (z, x))
        B, C = (one.unflatten(-1, (self.rank, self.groups, -1)).transpose(-3, -2) for one in (B, C))
        dt = F.softplus(dt.float() + self.dt_bias)
        lam = torch.sigmoid(trap.float()) if self.trapezoid else torch.ones_like(dt)
        turn = dt.unsqueeze(-1) * (math.pi * torch.tanh(angle.float())).unsqueeze(-2)
        return Token(
            z, x, self.B_norm(B.float()), self.C_norm(C.float()), dt, dt * decay_rate(a.float(), self.decay), lam, turn
        )

    def _mixed(self, token: Token, reverse: bool) -> Tensor:
        """y (B, L, H, R, P), before the skip and the gate."""
        y, _ = self._read(token.flipped() if reverse else token, None)
        return y.flip(1) if reverse else y

    def _read(self, token: Token, state: Memory | None) -> tuple[Tensor, Memory]:
        """Reads tokens forward, behind those that the state has read."""
        before_BHS = None if state is None else state.angle_BHS
        angle_BLHS = running_angle(token.turn_HS, before_BHS)
        q, k = turned_pair(token.q_GRN, token.k_GRN, self.C_bias, self.B_bias, angle_BLHS)
        v = self._ranks(token.x_HP)
        own, earlier = token.lam_H * token.dt_H, (1 - token.lam_H) * token.dt_H
        # a token stays in the state by its own share, and by the share that the next token gives to the one before
        w = own + F.pad(earlier[:, 1:], (0, 0, 0, 1))
        initial = None
        if state is not None:
            last_v = self._ranks(state.x_BHP)
            last_k = turned(state.k_BGRN, self.B_bias, state.angle_BHS)
            shared = earlier[:, 0, :, None, None] * torch.einsum("bhrp,bhrn->bhpn", last_v.float(), last_k.float())
            initial = state.state_BHPN + shared
        y, state_BHPN = ssd(q, k, v, token.log_decay_H, w, own, initial_state_BHPN=initial, return_final_state=True)
        memory = Memory(state_BHPN, token.k_GRN[:, -1].float(), token.x_HP[:, -1].float(), angle_BLHS[:, -1])
        return y, memory

    def _ranks(self, x_HP: Tensor) -> Tensor:
        """The values of each rank, (..., H, P) -> (..., H, R, P)."""
        return x_HP.unsqueeze(-2) if self.rank == 1 else ranked(x_HP, self.mimo_x)

    def _out(self, y_HRP: Tensor, token: Token, D_H: Tensor) -> Tensor:
        """Adds the skip, gates every rank, sums the ranks, and maps to D."""
        scales = Scales(self.mimo_x, self.mimo_z, self.mimo_o) if self.rank > 1 else None
        if self.norm is None:
            return self.out_proj(gated(y_HRP, token.z_HP, skip=(D_H, token.x_HP), scales=scales))
        y = y_HRP.float() + D_H[:, None, None] * self._ranks(token.x_HP).float()
        y = F.rms_norm(y, y.shape[-1:], eps=EPS) * self.norm.weight.unflatten(0, (self.heads, 1, -1))
        return self.out_proj(gated(y.to(y_HRP.dtype), token.z_HP, scales=scales))

    def start(self, B: int) -> Memory:
        self.require_forward()
        new, P = self.dt_bias.new_zeros, self.width // self.heads
        return Memory(
            new(B, self.heads, P, self.d_state),
            new(B, self.groups, self.rank, self.d_state),
            new(B, self.heads, P),
            new(B, self.heads, self.angles),
        )

    def prefill(self, x_BLD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        token = self._projected(x_BLD)
        y_BLHRP, state = self._read(token, state)
        return self._out(y_BLHRP, token, self.D), state

    def step(self, x_BD: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        if native.serves(given := self._native_inputs(x_BD, state)):
            assert given is not None
            y_BD, *memory = native.mamba3(given, self._native_options)
            return y_BD, Memory(*memory)
        token = self._projected(x_BD)
        angle_BHS = torch.remainder(state.angle_BHS + token.turn_HS, 2 * math.pi)
        last_k = turned(state.k_BGRN, self.B_bias, state.angle_BHS)
        k, q = turned(token.k_GRN, self.B_bias, angle_BHS), turned(token.q_GRN, self.C_bias, angle_BHS)
        v, last_v = self._ranks(token.x_HP), self._ranks(state.x_BHP)
        own, earlier = token.lam_H * token.dt_H, (1 - token.lam_H) * token.dt_H
        before = state.state_BHPN + earlier[..., None, None] * (last_v.float().transpose(-1, -2) @ last_k.float())
        added = own[..., None, None] * (v.float().transpose(-1, -2) @ k.float())
        state_BHPN = token.log_decay_H.exp()[..., None, None] * before + added
        y_BHRP = (q.float() @ state_BHPN.transpose(-1, -2)).to(x_BD.dtype)
        memory = Memory(state_BHPN, token.k_GRN.float(), token.x_HP.float(), angle_BHS)
        return self._out(y_BHRP, token, self.D), memory

    def _native_inputs(self, x_BD: Tensor, state: Memory) -> native.Mamba3Inputs | None:
        """What the kernel of a step reads, the parameters where they are."""
        read = self._step_reads.of(self)
        return None if read is None else native.Mamba3Inputs._make((x_BD, *state, *read))

    @property
    def _native_options(self) -> native.Mamba3Options:
        sizes = self.d_state, self.groups, self.rank, self.angles
        return native.Mamba3Options(*sizes, self.trapezoid, self.decay == "heavy_tail", SLOWEST, EPS)

    def flops(self, L: int) -> int:
        """Of the recurrence, not of the chunks, whose work depends on their length."""
        D, E, N, R, H = self.d_model, self.width, self.d_state, self.rank, self.heads
        one_direction = (1 + 6 * R) * E * N + 8 * H * R * N + (6 * R * E if R > 1 else 0)
        return L * (2 * D * sum(self.parts) + len(self.directions) * one_direction + 2 * E * D)

    def state_bytes(self, L: int) -> int:
        E, N = self.width, self.d_state
        state = (E * N + self.groups * self.rank * N + E + self.heads * self.angles) * FLOAT_BYTES
        return self.with_reverse(state, L)


def decay_rate(a: Tensor, decay: Decay) -> Tensor:
    """A, below 0."""
    if decay == "softplus":
        rate = F.softplus(a)
    else:
        rate = torch.where(a >= 0, 1 + a, 1 / (1 - a.clamp(max=0)))
    return (-rate).clamp(max=SLOWEST)


def running_angle(turn_BLHS: Tensor, before_BHS: Tensor | None) -> Tensor:
    """By how much queries and keys of each token are turned, its own turn included; in [0, 2 pi), float32.

    Summed in float64: in float32 a long sequence loses the angle behind the full turns.
    """
    angle = turn_BLHS.double().cumsum(1)
    if before_BHS is not None:
        angle = angle + before_BHS.double().unsqueeze(1)
    return torch.remainder(angle, 2 * math.pi).to(turn_BLHS.dtype)
