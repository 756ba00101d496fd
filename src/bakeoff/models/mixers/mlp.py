"""The multilayer perceptron of a Transformer block, token by token."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import Mixer
from bakeoff.ops import step as native


class Mlp(Mixer):
    """Two linear maps with a nonlinearity between them, token by token; width is the hidden width.

    Args:
        gate: "gelu": down(gelu(up(x))), with biases [Vaswani et al. 2017, with GELU]; "swiglu": down(silu(gate(x))
            up(x)), without [Shazeer 2020].
    """

    expand = 4
    width_name = "mlp_width"
    reads = "token"
    matrices = ("gate.weight", "up.weight", "down.weight")

    def __init__(self, d_model: int, width: int, *, gate: Literal["gelu", "swiglu"] = "gelu") -> None:
        super().__init__()
        self.d_model, self.width = d_model, width
        biased = gate == "gelu"
        self.gate = None if biased else nn.Linear(d_model, width, bias=False)
        self.up = nn.Linear(d_model, width, bias=biased)
        self.down = nn.Linear(width, d_model, bias=biased)
        first = None if biased else "gate.weight"
        self._step_reads = native.Parameters(first, "up.weight", "up.bias", "down.weight", "down.bias")

    def forward(self, x_BLD: Tensor) -> Tensor:
        if self.gate is None:
            return self.down(F.gelu(self.up(x_BLD)))
        return self.down(F.silu(self.gate(x_BLD)) * self.up(x_BLD))

    def start(self, B: int) -> None:
        return None

    def prefill(self, x_BLD: Tensor, state: None) -> tuple[Tensor, None]:
        return self(x_BLD), None

    def step(self, x_BD: Tensor, state: None) -> tuple[Tensor, None]:
        if native.serves(given := self._native_inputs(x_BD)):
            assert given is not None
            return native.mlp(given), None
        return self(x_BD), None

    def _native_inputs(self, x_BD: Tensor) -> native.MlpInputs | None:
        """What the kernel of a step reads, the parameters where they are."""
        read = self._step_reads.of(self)
        return None if read is None else native.MlpInputs._make((x_BD, *read))

    def flops(self, L: int) -> int:
        return L * (4 if self.gate is None else 6) * self.d_model * self.width

    def state_bytes(self, L: int) -> int:
        return 0
