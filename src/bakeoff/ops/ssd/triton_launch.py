"""The state space dual form on a GPU: chooses tiles, launches the Triton kernels, adds their sums over heads.

A sequence of one chunk has no states but those given or wanted: without them `outputs` alone is the forward pass.

Shapes: B batch, L tokens, G groups of queries and keys, H heads, R ranks, N states, P channels a head, C chunks.
"""

import math
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from bakeoff.ops.ssd import triton_backward, triton_forward
from bakeoff.ops.ssd.inputs import SsdInputs
from bakeoff.ops.tensors import dense_like, optional, parameter, rows


class Tile(NamedTuple):
    """What one program works on at most, beside a chunk: see `triton_forward`."""

    P_BLOCK: int
    N_BLOCK: int
    warps: int


# Rows of a chunk at most, a token counting R times (one token may have more).
ROWS = 64
# Not measured: of the tiles tried, the largest that the compiler makes for an H100 without spilling registers, in
# float32 too (N = P = 64). On consumer cards `gradients` spills about 250 bytes a thread in float32.
SUMS = Tile(64, 32, 4)
OUTPUTS = Tile(64, 32, 8)
VALUES = Tile(32, 32, 8)
GRADIENTS = Tile(32, 16, 8)
# Elements of a state that a program of `hand_on` takes from chunk to chunk.
BLOCK = 256
# A dot product on a GPU has sides of at least 16.
SHORTEST = 16
# How products multiply float32: tensor cores take 11 bits of a factor, and cut off the rest. Float32 inputs get three
# such products for each, which keep about 22 bits [Ootomo & Yokota 2022] at several times the speed of the units of
# float32. Where all inputs have 16 bits one product is enough: their 8 or 11 bits are exact in it, and factors that
# were computed keep more than bfloat16 would leave of them, and the range of float32, which float16 would not.
WIDE, NARROW = "tf32x3", "tf32"


def _padded(size: int) -> int:
    return max(SHORTEST, triton.next_power_of_2(size))


def _chunks(L: int, R: int) -> int:
    return triton.cdiv(L, max(ROWS, _padded(R)) // R)


class _Launch:
    """One call's shapes, and the launches of its kernels."""

    def __init__(self, x: SsdInputs, reverse: bool) -> None:
        self.x, self.reverse = x, reverse
        (self.B, self.L, self.H, self.R, self.P), self.N = x.v_BLHRP.shape, x.q_BLGRN.shape[-1]
        # A sequence shorter than a chunk gets smaller tiles.
        self.rows = max(_padded(self.R), min(ROWS, _padded(self.L * self.R)))
        self.chunks = _chunks(self.L, self.R)
        self.precision = WIDE if any(t.dtype == torch.float32 for t in x[:3]) else NARROW

    def states(self, chunks: int) -> Tensor:
        return self.x.w_BLH.new_empty(self.B, self.H, chunks, self.P, self.N)

    def state(self) -> Tensor:
        return self.x.w_BLH.new_empty(self.B, self.H, self.P, self.N)

    def run(
        self,
        kernel: triton.JITFunction,
        tile: Tile,
        arguments: tuple[Tensor | None, ...],
        sequences: tuple[Tensor, ...],
        tiles: str = "",
        **constants: bool,
    ) -> None:
        """`sequences` are the arguments whose strides it takes; `tiles` the axes of which a program has one tile."""
        sizes = {"P": self.P, "N": self.N}
        blocks = {"P": min(tile.P_BLOCK, _padded(self.P)), "N": min(tile.N_BLOCK, _padded(self.N))}
        programs = self.B * self.chunks * self.H * math.prod(triton.cdiv(sizes[axis], blocks[axis]) for axis in tiles)
        strides = [stride for x in sequences for stride in x.stride()[:2]]
        if programs:
            kernel[(programs,)](
                *(*arguments, self.L, self.H, self.chunks, self.H // self.x.q_BLGRN.shape[2], *strides),
                *(self.R, self.P, self.N),
                **constants,
                REVERSE=self.reverse,
                ROWS=self.rows,
                P_BLOCK=blocks["P"],
                N_BLOCK=blocks["N"],
                PRECISION=self.precision,
                num_warps=tile.warps,
                num_stages=1,
                enable_fp_fusion=True,
            )

    def pass_states(
        self,
        x_BLHRP: Tensor,
        z_BLGRN: Tensor,
        states_BHCPN: Tensor,
        start: Tensor | None,
        end: Tensor | None,
        back: bool,
    ) -> None:
        """Fills `states_BHCPN` with what enters each chunk: see `chunk_sums` and `hand_on`."""
        totals_BHC = self.x.w_BLH.new_empty(self.B, self.H, self.chunks)
        arguments = x_BLHRP, z_BLGRN, self.x.log_decay_BLH, self.x.w_BLH, states_BHCPN, totals_BHC
        self.run(triton_forward.chunk_sums, SUMS, arguments, (x_BLHRP, z_BLGRN), tiles="PN", BACK=back)
        constants = {"SIZE": self.P * self.N, "BACK": back, "BLOCK": BLOCK}
        grid = (self.B * self.H * triton.cdiv(self.P * self.N, BLOCK),)
        if self.B:
            triton_forward.hand_on[grid](states_BHCPN, totals_BHC, start, end, self.chunks, **constants)


def saved(x: SsdInputs) -> Tensor:
    """What forward keeps for backward: the states (B, H, C, P, N) before each chunk, or none where there is one."""
    (B, L, H, R, P), N = x.v_BLHRP.shape, x.q_BLGRN.shape[-1]
    chunks = _chunks(L, R)
    return x.w_BLH.new_empty(B, H, chunks if chunks > 1 else 0, P, N)


def forward(
    x: SsdInputs, reverse: bool, want_final: bool, want_saved: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """y_BLHRP in v's dtype; the final state; and the saved states."""
    y_BLHRP = dense_like(x.v_BLHRP)
    with torch.cuda.device_of(x.v_BLHRP):
        run = _Launch(x, reverse)
        before, final_BHPN = x.initial_BHPN, run.state() if want_final else None
        if run.chunks > 1 or want_final:
            states_BHCPN = run.states(run.chunks)
            run.pass_states(x.v_BLHRP, x.k_BLGRN, states_BHCPN, x.initial_BHPN, final_BHPN, back=False)
            before = states_BHCPN if run.chunks > 1 else before
        run.run(triton_forward.outputs, OUTPUTS, (*x[:6], before, y_BLHRP), x[:3], tiles="P", BACK=False)
    if not want_saved:
        return y_BLHRP, final_BHPN, None
    return y_BLHRP, final_BHPN, before if run.chunks > 1 else run.states(0)


def backward(
    x: SsdInputs, reverse: bool, states_BHCPN: Tensor, dy_BLHRP: Tensor, dfinal_BHPN: Tensor | None
) -> SsdInputs:
    """The gradient of every input, None for an absent one."""
    dy_BLHRP, after = rows(dy_BLHRP), optional(parameter, dfinal_BHPN)
    G, dinitial_BHPN = x.q_BLGRN.shape[2], None
    with torch.cuda.device_of(x.v_BLHRP):
        run = _Launch(x, reverse)
        several = run.chunks > 1
        if x.initial_BHPN is not None:
            dinitial_BHPN = run.state()
        if several or dinitial_BHPN is not None:
            dstates_BHCPN = run.states(run.chunks)
            run.pass_states(dy_BLHRP, x.q_BLGRN, dstates_BHCPN, after, dinitial_BHPN, back=True)
            after = dstates_BHCPN if several else after
        # Each head's own where several share a group's q and k: added below in a fixed order, and in float32.
        shared = run.H != G
        dq_BLHRN, dk_BLHRN = (
            t.new_empty(run.B, run.L, run.H, run.R, run.N, dtype=torch.float32 if shared else t.dtype) for t in x[:2]
        )
        dv_BLHRP, da_BLH, dw_BLH, dg_BLH = (dense_like(t) for t in x[2:6])
        run.run(
            triton_forward.outputs,
            VALUES,
            (*x[:2], dy_BLHRP, *x[3:6], after, dv_BLHRP),
            (*x[:2], dy_BLHRP),
            tiles="P",
            BACK=True,
        )
        before = states_BHCPN if several else x.initial_BHPN
        run.run(
            triton_backward.gradients,
            GRADIENTS,
            (*x[:6], before, after, dy_BLHRP, dq_BLHRN, dk_BLHRN, da_BLH, dw_BLH, dg_BLH),
            (*x[:3], dy_BLHRP),
        )
        if shared:
            dq_BLHRN, dk_BLHRN = (
                d.unflatten(2, (G, -1)).sum(3).to(t.dtype) for d, t in zip((dq_BLHRN, dk_BLHRN), x[:2], strict=True)
            )
    return SsdInputs(dq_BLHRN, dk_BLHRN, dv_BLHRP, da_BLH, dw_BLH, dg_BLH, dinitial_BHPN)
