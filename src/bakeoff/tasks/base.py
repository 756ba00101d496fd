"""The contract of a task: data, what to generate from, and figures of what was generated. A task knows no model.

Shapes: B items, L tokens, K context tokens, C values a token, N items of a data set.
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from bakeoff.artefacts.base import Items
from bakeoff.models.batch import Batch, to_device
from bakeoff.protocol import schema
from bakeoff.protocol.figures import Figure
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator
from bakeoff.tasks.calibration import Calibration, load_calibration

Split = Literal["train", "valid", "test"]


class Dataset(Protocol):
    """Batches as functions of (seed, step) alone, on one device."""

    @property
    def epoch_steps(self) -> int | None:
        """Steps that see every item once; None where there is no end of items."""
        ...

    def batch(self, seed: int, step: int) -> Batch: ...

    def size(self, step: int) -> int:
        """Items of the batch of a step."""
        ...

    def whole(self) -> Batch | None:
        """All items, where there is an end to them."""
        ...


class Finite:
    """A data set held on the training device: a fresh permutation every epoch, the last, smaller batch kept.

    Args:
        items: all of them, on the device.
        batch: items a step.
    """

    def __init__(self, items: Batch, batch: int) -> None:
        self._items, self._batch, self._count = items, batch, items.items()

    @property
    def epoch_steps(self) -> int:
        return -(-self._count // self._batch)

    def indices(self, seed: int, step: int) -> Tensor:
        """Which items a step sees, (B,) int64 on the CPU."""
        epoch, position = divmod(step, self.epoch_steps)
        order_N = _epoch_order(seed, epoch, self._count)
        return order_N[position * self._batch : (position + 1) * self._batch]

    def batch(self, seed: int, step: int) -> Batch:
        indices_B = self.indices(seed, step)
        placed: dict[torch.device, Tensor] = {}

        def pick(x: Tensor) -> Tensor:
            if x.device not in placed:
                placed[x.device] = to_device(x.device, indices_B)
            return x[placed[x.device]]

        return self._items.each(pick, len(indices_B))

    def size(self, step: int) -> int:
        position = step % self.epoch_steps
        return min(self._batch, self._count - position * self._batch)

    def whole(self) -> Batch:
        return self._items


class Endless:
    """A data set without an end: every batch is made anew.

    Args:
        make: (seed, step, items) to a batch on the CPU.
        batch: items a step.
    """

    epoch_steps = None

    def __init__(self, make: Any, batch: int, device: torch.device) -> None:
        self._make, self._batch, self._device = make, batch, device

    def batch(self, seed: int, step: int) -> Batch:
        return self._make(seed, step, self._batch).to(self._device)

    def size(self, step: int) -> int:
        return self._batch

    def whole(self) -> None:
        return None


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=generator("order", seed, epoch))


class Task(ABC):
    """One task under one protocol.

    Attributes:
        kind: of its artefacts, a name of the registry or "module:Class".
        item: what one item is called.
        question: what people who judge blind are asked to say of a set of items, as "whether ...".
        space: of its tokens, the codec's with labels and context added.
        figures: what `assess` measures; a task that the law does not know states them here.
        calibrated: whether a bar of this task needs a calibration before it is sealed.
    """

    kind: ClassVar[str]
    item: ClassVar[str] = "item"
    question: ClassVar[str] = "whether it is clean, whether it is noise"
    figures: ClassVar[tuple[Figure, ...]] = ()
    calibrated: ClassVar[bool] = False
    space: Space

    def __init__(self, protocol: "schema.Protocol") -> None:
        self.protocol = protocol

    def encoder(self, d_model: int, candidate: Any) -> nn.Module | None:
        """An encoder of the context, (B, K, C') to (B, K, d_model); counted apart. None: a linear map."""
        return None

    def inputs(self) -> dict[str, str]:
        """Name to SHA-256, hex, of all that shapes a result of this protocol and is no code, read anew."""
        return {}

    def check_data(self, data_dir: Path | None) -> None:
        """Refuse bad files before anything is written. Raises BakeoffError."""
        if data_dir is not None:
            self.data(torch.device("cpu"), data_dir)

    @abstractmethod
    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Dataset | None:
        """The items of a split; None where the task has no such split.

        Args:
            length: another L than the space's, where the task can.
        """

    @abstractmethod
    def prompts(self, count: int, label: int | None = None) -> Batch:
        """What to generate from, on the CPU; the first k do not depend on the count.

        Args:
            label: of all items, where there are labels; the classes in turn if it is None.
        """

    @abstractmethod
    def items(self, x: Tensor, prompts: Batch) -> Items:
        """Tokens, finished or on their way, as anyone would save them."""

    @abstractmethod
    def assess(self, items: Items, prompts: Batch) -> Any:
        """The figures of a set of items."""

    def calibrate(self, device: torch.device) -> Calibration | None:
        """Measure what decides the bar, once, before the seal; None where the task needs nothing of the kind."""
        return None

    def calibration(self) -> Calibration | None:
        """What `bakeoff calibrate` found for this protocol; None if it has not run on this machine."""
        return load_calibration(self.protocol)
