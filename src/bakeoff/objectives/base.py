"""The contract of an objective: what a model is trained for, and how items are made with it.

An objective knows tokens and models, and no task. Shapes: B items, L tokens, C values a token.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Generator, Tensor

from bakeoff.models.batch import Batch
from bakeoff.protocol.space import Space

Draws = Mapping[str, Tensor | None]  # what chance decides in one step, by name


class Model(Protocol):
    """What an objective asks of a model; `bakeoff.models.trunk.Trunk` is one."""

    def __call__(
        self,
        x: Tensor,
        t_B: Tensor | None = None,
        labels_B: Tensor | None = None,
        context: Tensor | None = None,
        hidden_B: Tensor | None = None,
    ) -> Tensor: ...


class Data(Protocol):
    """What an objective asks of a data set; `bakeoff.tasks.base.Dataset` has it."""

    def whole(self) -> Batch | None:
        """All items, where there is an end to them."""
        ...


@dataclass(frozen=True)
class Floor:
    """The lowest loss that a model can reach: an estimate, its standard error, and the draws that it is made of."""

    value: float
    stderr: float
    draws: int


class Objective(ABC):
    """One recipe from batch to loss, and from prompts to items.

    Attributes:
        causal: a token may read only those before it: every mixer that reads one way is turned forward.
        times: how many numbers the model is told: 0, 1 (time) or 2 (time and step size).
        teacher: the loss wants the averaged model too.
        symbols: extra symbols beside the task's vocabulary, such as begin or mask.
    """

    causal: ClassVar[bool] = False
    times: ClassVar[int] = 0
    teacher: ClassVar[bool] = False
    symbols: ClassVar[int] = 0

    @abstractmethod
    def out(self, space: Space) -> int:
        """Values that the model gives for a token.

        Raises:
            BakeoffError: the objective cannot serve such tokens.
        """

    @abstractmethod
    def draws(self, batch: Batch, g: Generator) -> Draws:
        """What chance decides in one step: on the CPU, the same for all candidates of a seed."""

    @abstractmethod
    def loss(self, model: Model, batch: Batch, draws: Draws, teacher: Model | None = None) -> Tensor:
        """The scalar loss of a batch, all on the model's device."""

    @abstractmethod
    def held_out(self, model: Model, batch: Batch, g: Generator) -> dict[str, Tensor]:
        """(B,) float32 by name, one value an item, on items that were never trained on."""

    @abstractmethod
    def start(self, space: Space, prompts: Batch, seed: int) -> Tensor:
        """Where items begin, on the CPU; item i does not depend on the others."""

    @abstractmethod
    def states(self, model: Model, prompts: Batch, x: Tensor, sampling: Any, seed: int) -> Iterator[Tensor]:
        """The states on the way from x, x first; the last one is the sample. All tensors on one device.

        Args:
            sampling: the protocol's section of that name.
            seed: of the noise that is drawn on the way, if any is, apart for each item.
        """

    @abstractmethod
    def nfe(self, sampling: Any, prompts: Batch) -> int:
        """Evaluations of the network an item that `states` takes."""

    def floor(self, data: Data) -> Floor | None:
        """The loss that no model can go below on this data; None where it is not known."""
        return None
