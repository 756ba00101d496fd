"""A flow replayed: what every step makes of one start, from a trained model."""

import time
from typing import Any

import torch
from torch import Tensor

from bakeoff.artefacts.base import build_kind
from bakeoff.models.batch import Batch
from bakeoff.trial.checkpoint import Loaded


class Replay:
    """An iterator over the tokens after 0, 1, ..., S steps; `cells` shows them.

    Attributes:
        steps: S.
        seconds: that the network took so far.
    """

    def __init__(self, loaded: Loaded, prompts: Batch, sampling: Any, seed: int) -> None:
        self._task, self._prompts, self.seconds = loaded.task, prompts, 0.0
        self._rows, self._kind = 0, build_kind(loaded.task.kind)
        self.steps = loaded.candidate.objective.steps(sampling, prompts)
        self._states = loaded.generator().states(prompts, sampling, seed, self._count)

    @property
    def nfe(self) -> int:
        """Evaluations of the network an item so far; guidance counts each of its two."""
        return self._rows // max(1, self._prompts.items())

    def __iter__(self) -> "Replay":
        return self

    @torch.no_grad()
    def __next__(self) -> Tensor:
        started = time.perf_counter()
        x = next(self._states)
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        self.seconds += time.perf_counter() - started
        return x

    def cells(self, x: Tensor) -> list[dict[str, Any]]:
        """Tokens, finished or on their way, as the page draws them: one cell an item."""
        items = self._task.items(x, self._prompts)
        return [self._kind.cell(items, i) for i in range(len(items))]

    def _count(self, rows: int) -> None:
        self._rows += rows
