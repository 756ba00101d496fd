"""The contract of a task: data, prompts, and figures of what was generated. A task does not know models.

Shapes: B items, L tokens, K context tokens, C values a token, N items of a data set.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch, to_device
from bakeoff.protocol import schema
from bakeoff.protocol.figures import Figure
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator
from bakeoff.tasks.calibration import Calibration, load_calibration

Split = Literal["train", "valid", "test"]


class Dataset(Protocol):
    """Batches that are functions of (seed, step) only, on one device."""

    @property
    def epoch_steps(self) -> int | None:
        """Steps that see every item once; None if the data set has no end."""
        ...

    def batch(self, seed: int, step: int) -> Batch: ...

    def size(self, step: int) -> int:
        """Number of items in the batch of a step."""
        ...

    def whole(self) -> Batch | None:
        """All items; None if the data set has no end."""
        ...


class Finite:
    """A data set on the training device: every epoch is a new permutation and keeps its last, smaller batch.

    Args:
        items: all items, on the device.
        batch: items per step.
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
    """A data set without an end: every batch is newly made.

    Args:
        make: (seed, step, items) -> a batch on the CPU.
        batch: items per step.
    """

    epoch_steps = None

    def __init__(self, make: Callable[[int, int, int], Batch], batch: int, device: torch.device) -> None:
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
        kind: kind of its artefacts, a name in the registry or "module:Class".
        item: the word for one item.
        question: what people who judge blind are asked to say of a set of items, as "whether ...".
        space: space of its tokens: the codec's, with labels and context added.
        figures: what `assess` measures, and `HELD_OUT` if every trial measures its loss on the split "valid"; a task
            that the protocol package does not know states them here.
        names: of its classes, in words; none where their numbers say enough.
        varied: whether every prompt is another one, so that people choose among them.
        calibrated: whether a bar of this task needs a calibration before it is sealed.
    """

    kind: ClassVar[str]
    item: ClassVar[str] = "item"
    question: ClassVar[str] = "whether it is clean, whether it is noise"
    figures: ClassVar[tuple[Figure, ...]] = ()
    calibrated: ClassVar[bool] = False
    names: ClassVar[tuple[str, ...]] = ()
    varied: ClassVar[bool] = False

    space: Space

    def __init__(self, protocol: "schema.Protocol") -> None:
        self.protocol = protocol

    def encoder(self, d_model: int, candidate: Any) -> nn.Module | None:
        """An encoder of the context, (B, K, C') -> (B, K, d_model), counted separately; None means a linear map."""
        return None

    def inputs(self) -> dict[str, str]:
        """Name -> SHA-256, hex, of all except code that shapes a result of this protocol; read again at each call."""
        return {}

    def check_data(self, data_dir: Path | None) -> None:
        """Raises BakeoffError for bad data files; called before anything is written."""
        if data_dir is not None:
            self.data(torch.device("cpu"), data_dir)

    def missing(self) -> str:
        """Why its data are not on this machine, and what to do; empty if they are."""
        return ""

    @abstractmethod
    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Dataset | None:
        """The items of a split; None if the task has no such split.

        Args:
            length: an L that differs from the space's, if the task supports it.
        """

    @abstractmethod
    def prompts(self, count: int, label: int | None = None) -> Batch:
        """The prompts to generate from, on the CPU; the first k do not depend on the count.

        Args:
            label: label of all items, if there are labels; None takes the classes in turn.
        """

    @property
    def example(self) -> str:
        """A prompt that a person might type, for `typed`; empty if the task takes none."""
        return ""

    def typed(self, text: str) -> Batch:
        """The prompt that a person typed, one item.

        Raises:
            BakeoffError: it is none; the message says what is allowed.
        """
        raise BakeoffError(f"prompt: the task {self.protocol.task.kind} takes none.")

    @abstractmethod
    def items(self, x: Tensor, prompts: Batch) -> Items:
        """The items of finished or unfinished tokens, in the form in which they are saved."""

    @abstractmethod
    def assess(self, items: Items, prompts: Batch) -> Quality:
        """The figures of a set of items."""

    def calibrate(self, device: torch.device) -> Calibration | None:
        """Measures what decides the bar, once, before the seal; None if the task needs no calibration."""
        return None

    def calibration(self) -> Calibration | None:
        """The result of `bakeoff calibrate` for this protocol; None if it has not run on this machine."""
        return load_calibration(self.protocol)
