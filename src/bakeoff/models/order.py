"""The reading order of one-way mixers: the context first, whatever the order of the tokens; along each axis of a grid.

Shapes: B items, K context tokens, L tokens, D = d_model.
"""

import math

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


class CrossScan(nn.Module):
    """A mixer along each axis of a grid with the same weights, summed [after VMamba, Liu et al. 2024].

    The given mixer reads both ways, so that there are four directions on a plane and six in space: raster order, and
    the orders in which each other axis is the one that runs fastest. The context comes first in all.
    """

    inverse: Tensor
    order: Tensor

    def __init__(self, mixer: nn.Module, grid: tuple[int, ...], context: int, d_model: int) -> None:
        super().__init__()
        self.mixer, self.d_model = mixer, d_model
        axes, index = range(len(grid)), torch.arange(math.prod(grid), device="cpu").reshape(grid)
        # the axes in a circle: (0, 1), (1, 0), or (0, 1, 2), (1, 2, 0), (2, 0, 1)
        turned = [index.permute([(axis + turn) % len(grid) for axis in axes]).flatten() for turn in axes]
        prefix = torch.arange(context, device="cpu")
        order_PT = torch.stack([torch.cat([prefix, context + one]) for one in turned])
        self.register_buffer("order", order_PT, persistent=False)
        self.register_buffer("inverse", order_PT.argsort(1), persistent=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, K + L, D) -> (B, K + L, D)."""
        read = [
            self.mixer(x_BTD[:, order_T])[:, back_T] for order_T, back_T in zip(self.order, self.inverse, strict=True)
        ]
        return torch.stack(read).sum(0)

    def flops(self, L: int) -> int:
        return len(self.order) * costs.flops(self.mixer, L, self.d_model)

    def state_bytes(self, L: int) -> int:
        return len(self.order) * costs.state_bytes(self.mixer, L, self.d_model)
