"""The batch: the one form of data that a task passes through the objective to the trunk.

Shapes: B items, L tokens, K context tokens, C values a token, d axes of a place.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bakeoff.protocol.space import Space


class Batch(NamedTuple):
    """Items and all that belongs to them; a field is None if the task does not use it.

    Attributes:
        x: what is generated or predicted, (B, L, C) float32 or (B, L) int64; None in prompts.
        y: the target at each place, where it is not x.
        context: given and never predicted, (B, K, C') float32 or (B, K) int64.
        labels_B: int64, one class an item.
        hidden_B: bool, items whose label and context are replaced by learned nulls.
        weight_BL: where the loss counts; in prompts, 0 marks given and 1 marks tokens to generate.
        place_BLd: int64 coordinates, if they differ from item to item.
        truth: read only by the task.
        size: number of items, if no tensor tells it (prompts that ask for nothing in particular).
    """

    x: Tensor | None = None
    y: Tensor | None = None
    context: Tensor | None = None
    labels_B: Tensor | None = None
    hidden_B: Tensor | None = None
    weight_BL: Tensor | None = None
    place_BLd: Tensor | None = None
    truth: Mapping[str, Tensor] | None = None
    size: int = 0

    def items(self) -> int:
        """B."""
        tensors = (one for one in self if isinstance(one, Tensor))
        return next((len(one) for one in tensors), self.size)

    def each(self, change: Callable[[Tensor], Tensor], count: int) -> "Batch":
        """Applies the same change to every tensor, truth included; the result has `count` items."""
        changed: dict[str, Any] = {name: change(one) for name, one in self._asdict().items() if isinstance(one, Tensor)}
        truth = None if self.truth is None else {name: change(one) for name, one in self.truth.items()}
        return self._replace(**changed, truth=truth, size=count)

    def to(self, device: torch.device) -> "Batch":
        """The batch on the device."""
        return self.each(lambda x: to_device(device, x), self.items())

    def take(self, start: int, end: int) -> "Batch":
        """Items start ... end - 1."""
        return self.each(lambda x: x[start:end], max(0, min(end, self.items()) - start))


def stand_in(space: Space, count: int, g: Generator) -> Batch:
    """Noise in the shape of a task's items, to measure their cost."""

    def tokens(length: int, channels: int) -> Tensor | None:
        if not length:
            return None
        if channels:
            return torch.randn(count, length, channels, generator=g)
        return torch.randint(space.vocabulary, (count, length), generator=g)

    return Batch(
        x=tokens(space.length, space.channels),
        context=tokens(space.context, space.context_channels),
        labels_B=torch.randint(space.classes, (count,), generator=g) if space.classes else None,
        size=count,
    )


def to_device(device: torch.device, x: Tensor) -> Tensor:
    """x on the device; copied from the CPU to a GPU through page-locked memory, so that the host does not wait."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
