"""The reading order of one-way mixers when there is a context: the context first, whatever the order of the tokens.

Shapes: B items, K context tokens, L tokens, D = d_model.
"""

import torch
from torch import Tensor, nn

from bakeoff.models import costs
from bakeoff.models.mixers.base import Direction


class ContextFirst(nn.Module):
    """A forward mixer on [context, tokens], on [context, reversed tokens], or the sum of both with the same weights.

    Without a context the mixers' own reverse kernels are faster and are used instead.
    """

    def __init__(self, mixer: nn.Module, direction: Direction, context: int, d_model: int) -> None:
        super().__init__()
        self.mixer, self.direction, self.context, self.d_model = mixer, direction, context, d_model

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, K + L, D) -> (B, K + L, D)."""
        if self.direction == "forward":
            return self.mixer(x_BTD)
        backward_BTD = self._turned(self.mixer(self._turned(x_BTD)))
        return backward_BTD if self.direction == "reverse" else self.mixer(x_BTD) + backward_BTD

    def _turned(self, x_BTD: Tensor) -> Tensor:
        return torch.cat([x_BTD[:, : self.context], x_BTD[:, self.context :].flip(1)], 1)

    def flops(self, L: int) -> int:
        passes = 2 if self.direction == "both" else 1
        return passes * costs.flops(self.mixer, L, self.d_model)

    def state_bytes(self, L: int) -> int:
        held = costs.state_bytes(self.mixer, L, self.d_model)
        if self.direction == "forward":
            return held
        return held + L * self.d_model * costs.FLOAT_BYTES  # reading backward needs all tokens
