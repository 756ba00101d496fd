"""Makes items with a trained model: from prompts to finished tokens, a bounded number at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bakeoff.models.batch import Batch, to_device
from bakeoff.objectives._cuda_graph import Captured
from bakeoff.objectives.base import Objective, Reads
from bakeoff.protocol.space import Space

AT_ONCE = 256  # items


class Generated(NamedTuple):
    """Finished tokens x on the model's device, and evaluations of the network per item."""

    x: Tensor
    nfe: int


class Generator:
    """A trained model with its objective, ready to make items; a CUDA device captures repeated calls of one shape."""

    def __init__(self, objective: Objective, space: Space, model: nn.Module, captured: Captured | None = None) -> None:
        self.objective, self.space, self.model = objective, space, model
        self.captured = captured or Captured(model)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def why_anew(self, prompts: Batch) -> str:
        """Why the model reads all tokens anew for each that it decodes; empty if it does not, or decodes none."""
        if not self.objective.causal or prompts.y is not None:
            return ""
        why = self.model.why_no_reader()  # pyright: ignore[reportCallIssue]
        return f"every answer is decoded by a forward pass over all that is known: {why}" if why else ""

    def states(
        self, prompts: Batch, sampling: Any, seed: int, counted: Callable[[int], None] = lambda rows: None
    ) -> Iterator[Tensor]:
        """The states of all prompts together, from the start to the finished tokens, on the model's device.

        Args:
            counted: called with the number of rows of each evaluation of the network.
        """
        x = to_device(self.device, self.objective.start(self.space, prompts, seed))
        yield from self._from(x, prompts, sampling, seed, counted)

    def _from(
        self, x: Tensor, prompts: Batch, sampling: Any, seed: int, counted: Callable[[int], None], first: int = 0
    ) -> Iterator[Tensor]:
        model = _Counted(self.captured, counted)
        yield from self.objective.states(model, prompts.to(self.device), x, sampling, seed, first)

    @torch.no_grad()
    def __call__(self, prompts: Batch, sampling: Any, seed: int, at_once: int = AT_ONCE) -> Generated:
        """Finished tokens for every prompt, at most `at_once` at a time; an item does not depend on that number."""
        count, rows = prompts.items(), [0]
        start = self.objective.start(self.space, prompts, seed)

        def counted(evaluated: int) -> None:
            rows[0] += evaluated

        parts = []
        for first in range(0, count, at_once):
            begin = to_device(self.device, start[first : first + at_once])
            states = self._from(begin, prompts.take(first, first + at_once), sampling, seed, counted, first)
            (end,) = deque(states, maxlen=1)
            parts.append(end)
        return Generated(torch.cat(parts), rows[0] // max(1, count))


class _Counted:
    """A model that reports the number of rows of each of its evaluations."""

    def __init__(self, captured: Captured, counted: Callable[[int], None]) -> None:
        self._captured, self._counted = captured, counted

    def __call__(
        self,
        x: Tensor,
        t_B: Tensor | None = None,
        labels_B: Tensor | None = None,
        context: Tensor | None = None,
        hidden_B: Tensor | None = None,
    ) -> Tensor:
        self._counted(len(x))
        return self._captured(x, t_B, labels_B, context, hidden_B)

    def reader(self, prompts: Batch) -> "_CountedReader | None":
        reader = self._captured.model.reader(prompts)  # pyright: ignore[reportCallIssue]
        return None if reader is None else _CountedReader(reader, lambda: self._counted(prompts.items()))


class _CountedReader:
    """A reader that reports each of its evaluations."""

    def __init__(self, reader: Reads, counted: Callable[[], None]) -> None:
        self._reader, self._counted = reader, counted

    def read(self, x: Tensor) -> Tensor:
        self._counted()
        return self._reader.read(x)
