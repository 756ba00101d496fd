"""A gated recurrent unit [Cho et al. 2014]: the control that can count, and that trains token by token.

Shapes: B batch, L tokens, D = d_model, W = width.
"""

import torch
from torch import Tensor, nn

from bakeoff.models.mixers.base import FLOAT_BYTES, Direction, OneWay
from bakeoff.ops import step as native

STEP_READS = native.Parameters(
    "gru.weight_ih_l0",
    "gru.weight_hh_l0",
    "gru.bias_ih_l0",
    "gru.bias_hh_l0",
    "out_proj.weight",
    kinds=(nn.GRU, nn.Linear),
)


class Gru(OneWay):
    """torch.nn.GRU of `width` units, and a linear map back; "both" reads each way with the same weights and adds."""

    width_name = "units"
    matrices = ("gru.weight_ih_l0", "gru.weight_hh_l0", "out_proj.weight")

    def __init__(self, d_model: int, width: int, *, direction: Direction = "forward") -> None:
        super().__init__(direction)
        self.d_model, self.width = d_model, width
        self.gru = nn.GRU(d_model, width, batch_first=True)
        self.out_proj = nn.Linear(width, d_model, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.out_proj(torch.stack([self._read(x_BLD, reverse) for reverse in self.directions]).sum(0))

    def _read(self, x_BLD: Tensor, reverse: bool) -> Tensor:
        y_BLW, _ = self.gru(x_BLD.flip(1) if reverse else x_BLD)
        return y_BLW.flip(1) if reverse else y_BLW

    def start(self, B: int) -> Tensor:
        self.require_forward()
        return self.out_proj.weight.new_zeros(1, B, self.width)

    def prefill(self, x_BLD: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y_BLW, state = self.gru(x_BLD, state)
        return self.out_proj(y_BLW), state

    def step(self, x_BD: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if native.serves(given := self._native_inputs(x_BD, state)):
            assert given is not None
            return native.gru(given)
        y_BLD, state = self.prefill(x_BD.unsqueeze(1), state)
        return y_BLD.squeeze(1), state

    def _native_inputs(self, x_BD: Tensor, state: Tensor) -> native.GruInputs | None:
        """What the kernel of a step reads, the parameters where they are."""
        read = STEP_READS.of(self)
        return None if read is None else native.GruInputs._make((x_BD, state, *read))

    def flops(self, L: int) -> int:
        D, W = self.d_model, self.width
        return L * (len(self.directions) * 2 * 3 * (D + W) * W + 2 * W * D)

    def state_bytes(self, L: int) -> int:
        state = self.width * FLOAT_BYTES
        return self.with_reverse(state, L)
