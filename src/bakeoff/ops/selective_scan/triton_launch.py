"""The selective scan on a GPU: packs the inputs, launches the Triton kernels, adds their partial sums.

`forward`, `backward` and `saved` have the signatures of those in `native` and serve the same autograd functions.
Long sequences of few samples are split: a first pass over each stretch of a sample finds how it changes the state, then
all stretches are scanned in parallel [as in Blelloch 1990]. This costs one more exponential per element of the state.

Shapes: B batch, L tokens, D channels, N states, V stretches (B times splits), S segments, P padded states, Q padded
tokens, X blocks of channels.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from bakeoff.ops.selective_scan import triton_backward, triton_forward
from bakeoff.ops.selective_scan.inputs import ScanInputs
from bakeoff.ops.tensors import dense_like, parameter, rows

LOG2E = 1.4426950408889634


class Tile(NamedTuple):
    """What one program works on: see `triton_forward`; warps should be N_BLOCK, or 1."""

    N_BLOCK: int
    D_BLOCK: int
    T: int
    warps: int


# The fastest of twelve on an H200 (docs/results/gpu.md; `python -m benchmarks.gpu --tune` tries them). One warp or two
# a program: next to nothing passes between warps. For 32 elements of the state a warp issues 8 instructions in all in
# forward, as many cycles as the special-function unit takes for their exponentials, and 27 in backward; on the card
# neither is near that limit, for too few warps run at once to hide the latency of what they wait for.
FORWARD = Tile(1, 64, 14, 1)
BACKWARD = Tile(2, 128, 7, 2)
# Tokens between the states that forward keeps: memory is N / SEGMENT float32 per token and channel.
SEGMENT = 14
# Splitting a sequence pays as long as fewer warps than this run.
WARPS_WANTED = 2048
# Tokens of the shortest stretch.
SHORTEST = 128


def _splits(B: int, L: int, D: int) -> int:
    """Stretches of a sample: 1, or as many as give WARPS_WANTED programs of the forward pass."""
    programs = B * triton.cdiv(D, FORWARD.D_BLOCK)
    wanted = triton.cdiv(WARPS_WANTED, max(programs, 1)) if programs <= WARPS_WANTED // 4 else 1
    return max(1, min(wanted, L // SHORTEST))


class _Plan(NamedTuple):
    """How a scan is cut: `tokens` per stretch and Q in all, both whole segments."""

    splits: int
    tokens: int
    Q: int
    P: int

    @classmethod
    def of(cls, B: int, L: int, D: int, N: int) -> "_Plan":
        segments = triton.cdiv(L, SEGMENT)
        tokens = triton.cdiv(segments, _splits(B, L, D)) * SEGMENT
        block = max(FORWARD.N_BLOCK, BACKWARD.N_BLOCK)
        return cls(triton.cdiv(L, tokens), tokens, segments * SEGMENT, triton.cdiv(N, block) * block)


def saved(x: ScanInputs) -> tuple[Tensor, Tensor | None]:
    """What forward keeps for backward: states (B, S, P, D), and y before the gate where there is one."""
    (B, L, D), N = x.u_BLD.shape, x.A_DN.shape[1]
    states_BSPD = x.A_DN.new_empty(B, triton.cdiv(L, SEGMENT), _Plan.of(B, L, D, N).P, D)
    return states_BSPD, None if x.z_BLD is None else x.u_BLD.new_empty(B, L, D)


def _by_state(x_BDN: Tensor | None, P: int) -> Tensor | None:
    """(B, D, N) to (B, P, D), zeros for the padded states."""
    if x_BDN is None:
        return None
    B, D, N = x_BDN.shape
    x_BPD = (x_BDN.new_empty if P == N else x_BDN.new_zeros)(B, P, D)
    x_BPD[:, :N].copy_(x_BDN.transpose(1, 2))
    return x_BPD


def _pack(x_BLN: Tensor, plan: _Plan, reverse: bool) -> Tensor:
    """(B, L, N) to (B, P, Q) in the scan's order."""
    B, L, N = x_BLN.shape
    whole = (plan.P, plan.Q) == (N, L)
    x_BPQ = (x_BLN.new_empty if whole else x_BLN.new_zeros)((B, plan.P, plan.Q), dtype=torch.float32)
    x_BPQ[:, :N, :L].copy_((x_BLN.flip(1) if reverse else x_BLN).transpose(1, 2))
    return x_BPQ


def _unpack(x_BXPQ: Tensor, like_BLN: Tensor, reverse: bool) -> Tensor:
    """The sum over blocks of channels, in order, as a gradient of like_BLN."""
    _, L, N = like_BLN.shape
    x_BLN = x_BXPQ[:, :, :N, :L].sum(1).transpose(1, 2)
    return (x_BLN.flip(1) if reverse else x_BLN).to(like_BLN.dtype).contiguous()


def _strides(x: Tensor | None) -> tuple[int, int]:
    return (0, 0) if x is None else (x.stride(0), x.stride(1))


class _Launch:
    """One scan's shapes, and the launches of its kernels."""

    def __init__(self, x: ScanInputs, dt_softplus: bool, reverse: bool) -> None:
        self.x, self.reverse, self.flags = x, reverse, {"SOFTPLUS": dt_softplus, "REVERSE": reverse}
        (self.B, self.L, self.D), self.N = x.u_BLD.shape, x.A_DN.shape[1]
        self.plan = _Plan.of(self.B, self.L, self.D, self.N)
        self.A2_PD = x.A_DN.new_zeros(self.plan.P, self.D)
        torch.mul(x.A_DN.t(), LOG2E, out=self.A2_PD[: self.N])
        self.Bp, self.Cp = (_pack(t, self.plan, reverse) for t in (x.B_BLN, x.C_BLN))
        self.elapsed_VD = self.A2_PD.new_empty(self.B * self.plan.splits, self.D)

    def run(self, kernel: triton.JITFunction, tile: Tile, *arguments: object, **constants: object) -> None:
        """`arguments` are the kernel's up to the sizes, and its strides."""
        pointers = [a for a in arguments if not isinstance(a, tuple)]
        strides = [s for a in arguments if isinstance(a, tuple) for s in a]
        p = self.plan
        sizes = (self.L, self.D, p.P, p.Q, triton.cdiv(self.L, tile.T), p.splits, p.tokens // tile.T)
        grid = (self.B * p.splits * triton.cdiv(self.D, tile.D_BLOCK),)
        tiling = {"N_BLOCK": tile.N_BLOCK, "D_BLOCK": tile.D_BLOCK, "T": tile.T, "num_warps": tile.warps}
        kernel[grid](*pointers, *sizes, *strides, **self.flags, **constants, **tiling, enable_fp_fusion=True)

    def forward(self, *arguments: object) -> None:
        strides = [_strides(t) for t in (self.x.u_BLD, self.x.dt_BLD, self.x.z_BLD)]
        self.run(triton_forward.forward, FORWARD, *arguments, *strides, SEGMENT=SEGMENT // FORWARD.T)

    def alone(self, carry_VPD: Tensor | None) -> None:
        """What each stretch alone makes of a zero state, and the sum of dt in it."""
        x = self.x
        inputs = (x.u_BLD, x.dt_BLD, self.A2_PD, self.Bp, None, None, None, x.dt_bias_D)
        self.forward(*inputs, carry_VPD, None, None, None, self.elapsed_VD)

    def zeros(self) -> Tensor:
        return self.A2_PD.new_zeros(self.B * self.plan.splits, self.plan.P, self.D)

    def combine(self, carry_VPD: Tensor, end_BPD: Tensor | None, back: bool) -> None:
        size, constants = self.plan.P * self.D, {"BACK": back, "BLOCK": 512}
        grid = (self.B * triton.cdiv(size, constants["BLOCK"]),)
        sizes = self.D, size, self.plan.splits
        triton_forward.combine[grid](carry_VPD, end_BPD, self.elapsed_VD, self.A2_PD, *sizes, **constants)


def forward(
    x: ScanInputs, dt_softplus: bool, reverse: bool, want_final: bool, want_saved: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """y_BLD; the final state; and for backward the saved states and, with a gate, y before it."""
    y_BLD = dense_like(x.u_BLD)
    states_BSPD, ungated_BLD = saved(x) if want_saved else (None, None)
    with torch.cuda.device_of(x.u_BLD):
        run = _Launch(x, dt_softplus, reverse)
        initial_BPD = _by_state(x.initial_BDN, run.plan.P)
        if run.plan.splits > 1:
            carry_VPD = run.zeros()
            run.alone(carry_VPD)
            run.combine(carry_VPD, initial_BPD, back=False)
        else:
            carry_VPD = run.zeros() if initial_BPD is None else initial_BPD
        if run.B:
            run.forward(
                *(x.u_BLD, x.dt_BLD, run.A2_PD, run.Bp, run.Cp, x.D_D, x.z_BLD, x.dt_bias_D),
                *(carry_VPD, states_BSPD, y_BLD, ungated_BLD, None),
            )
    if not want_final:
        return y_BLD, None, states_BSPD, ungated_BLD
    last_BPD = carry_VPD.unflatten(0, (run.B, run.plan.splits))[:, -1]
    return y_BLD, last_BPD[:, : run.N].transpose(1, 2).contiguous(), states_BSPD, ungated_BLD


def backward(
    x: ScanInputs,
    dt_softplus: bool,
    reverse: bool,
    states_BSPD: Tensor,
    ungated_BLD: Tensor | None,
    dy_BLD: Tensor,
    dfinal_BDN: Tensor | None,
) -> ScanInputs:
    """The gradient of every input, None for those absent."""
    dy_BLD = rows(dy_BLD)
    du_BLD, ddt_BLD = dense_like(x.u_BLD), dense_like(x.dt_BLD)
    dz_BLD = None if x.z_BLD is None else dense_like(x.z_BLD)
    with torch.cuda.device_of(x.u_BLD):
        run = _Launch(x, dt_softplus, reverse)
        plan, new = run.plan, run.A2_PD.new_empty
        carry_BPD = _by_state(None if dfinal_BDN is None else parameter(dfinal_BDN), plan.P)
        if plan.splits > 1:
            run.alone(None)
            carry_VPD = run.zeros()
            z = x.z_BLD
            strides = [_strides(t) for t in (x.dt_BLD, z, dy_BLD)]
            run.run(
                triton_backward.adjoint,
                FORWARD,
                *(x.dt_BLD, run.A2_PD, run.Cp, z, x.dt_bias_D, dy_BLD, carry_VPD, *strides),
            )
            run.combine(carry_VPD, carry_BPD, back=True)
        else:
            carry_VPD = run.zeros() if carry_BPD is None else carry_BPD
        dA_VPD = run.zeros()
        dB, dC = (new(run.B, triton.cdiv(run.D, BACKWARD.D_BLOCK), plan.P, plan.Q) for _ in "BC")
        dskip_VD, dbias_VD = (None if t is None else new(len(dA_VPD), run.D) for t in (x.D_D, x.dt_bias_D))
        scratch = new(len(dA_VPD), SEGMENT // BACKWARD.T, plan.P, run.D)
        if run.B:
            run.run(
                triton_backward.backward,
                BACKWARD,
                *(x.u_BLD, x.dt_BLD, run.A2_PD, run.Bp, run.Cp, x.D_D, x.z_BLD, x.dt_bias_D),
                *(states_BSPD, scratch, ungated_BLD, dy_BLD, carry_VPD),
                *(du_BLD, ddt_BLD, dA_VPD, dB, dC, dskip_VD, dz_BLD, dbias_VD),
                *(_strides(t) for t in (x.u_BLD, x.dt_BLD, x.z_BLD, dy_BLD)),
                SEGMENT=SEGMENT // BACKWARD.T,
            )
    dinitial_BDN = None
    if x.initial_BDN is not None:
        first_BPD = carry_VPD.unflatten(0, (run.B, plan.splits))[:, 0]
        dinitial_BDN = first_BPD[:, : run.N].transpose(1, 2).contiguous()
    return ScanInputs(
        u_BLD=du_BLD,
        dt_BLD=ddt_BLD,
        A_DN=dA_VPD[:, : run.N].sum(0).t().contiguous(),
        B_BLN=_unpack(dB, x.B_BLN, reverse),
        C_BLN=_unpack(dC, x.C_BLN, reverse),
        D_D=None if dskip_VD is None else dskip_VD.sum(0),
        z_BLD=dz_BLD,
        dt_bias_D=None if dbias_VD is None else dbias_VD.sum(0),
        initial_BDN=dinitial_BDN,
    )
