"""The contract of an objective: what a model is trained for, and how it makes items.

An objective knows tokens and models, but no task. Shapes: B items, L tokens, C values a token.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Generator, Tensor

from bakeoff.models.batch import Batch
from bakeoff.protocol.space import Space

Draws = Mapping[str, Tensor | None]  # the random draws of one step, by name


class Model(Protocol):
    """What an objective needs from a model; `bakeoff.models.trunk.Trunk` is one."""

    def __call__(
        self,
        x: Tensor,
        t_B: Tensor | None = None,
        labels_B: Tensor | None = None,
        context: Tensor | None = None,
        hidden_B: Tensor | None = None,
    ) -> Tensor: ...

    def reader(self, prompts: Batch) -> "Reads | None":
        """The model before the first token of as many items, to read on token by token; None if it cannot."""
        ...


class Reads(Protocol):
    """A model that goes on token by token; `bakeoff.models.reader.Reader` is one."""

    def read(self, x: Tensor) -> Tensor: ...


class Data(Protocol):
    """What an objective needs from a data set; `bakeoff.tasks.base.Dataset` has it."""

    def whole(self) -> Batch | None:
        """All items; None if the data set has no end."""
        ...


@dataclass(frozen=True)
class Floor:
    """The lowest loss that a model can reach: an estimate, its standard error, and its number of draws."""

    value: float
    stderr: float
    draws: int


class Objective(ABC):
    """Computes a loss from a batch, and items from prompts.

    Attributes:
        causal: whether a token may read only tokens before it; every one-way mixer then reads forward.
        times: how many numbers the model gets: 0, 1 (time) or 2 (time and step size).
        teacher: whether the loss needs the averaged model too.
        symbols: number of extra symbols besides the task's vocabulary, such as begin or mask.
    """

    causal: ClassVar[bool] = False
    times: ClassVar[int] = 0
    teacher: ClassVar[bool] = False
    symbols: ClassVar[int] = 0

    @abstractmethod
    def out(self, space: Space) -> int:
        """Number of values that the model gives for a token.

        Raises:
            BakeoffError: the objective cannot serve such tokens.
        """

    @abstractmethod
    def draws(self, batch: Batch, g: Generator) -> Draws:
        """The random draws of one step: on the CPU, the same for all candidates of a seed."""

    @abstractmethod
    def loss(self, model: Model, batch: Batch, draws: Draws, teacher: Model | None = None) -> Tensor:
        """The scalar loss of a batch, all on the model's device."""

    @abstractmethod
    def held_out(self, model: Model, batch: Batch, g: Generator) -> dict[str, Tensor]:
        """Losses by name, (B,) float32, one value an item, on items that were not trained on."""

    @abstractmethod
    def start(self, space: Space, prompts: Batch, seed: int) -> Tensor:
        """The start state of items, on the CPU; item i does not depend on the others."""

    @abstractmethod
    def states(
        self, model: Model, prompts: Batch, x: Tensor, sampling: Any, seed: int, first: int = 0
    ) -> Iterator[Tensor]:
        """The states from x to the sample: x is the first, the sample the last. All tensors are on one device.

        Args:
            sampling: the protocol's section of that name.
            seed: seed of any noise that is drawn on the way, separately for each item.
            first: number of the first of these items, where a set is made in parts.
        """

    @abstractmethod
    def steps(self, sampling: Any, prompts: Batch) -> int:
        """How many states `states` gives after the first."""

    @abstractmethod
    def nfe(self, sampling: Any, prompts: Batch) -> int:
        """Evaluations of the network that `states` takes for an item."""

    def floor(self, data: Data) -> Floor | None:
        """The lowest loss that a model can reach on this data; None if it is not known."""
        return None
