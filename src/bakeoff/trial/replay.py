"""The flow replayed: what every solver step makes of one noise, from a trained model."""

import time

import numpy as np
import torch
from torch import Tensor

from bakeoff.protocol.sections.sampling import Sampling
from bakeoff.trial.checkpoint import Loaded


class Replay:
    """An iterator over tokens x_BLC after 0, 1, ..., S solver steps; `images` makes pictures of them.

    Attributes:
        seconds: that the network took so far.
    """

    def __init__(self, loaded: Loaded, noise_BLC: Tensor, labels_B: Tensor | None, sampling: Sampling) -> None:
        self._task, self.seconds = loaded.task, 0.0
        self._field, self._states = loaded.task.flow(loaded.model, noise_BLC, labels_B, sampling)

    @property
    def nfe(self) -> int:
        """Evaluations of the network a sample so far; guidance counts each of its two."""
        return self._field.evaluations

    def __iter__(self) -> "Replay":
        return self

    def __next__(self) -> Tensor:
        started = time.perf_counter()
        x_BLC = next(self._states)
        if x_BLC.device.type == "cuda":
            torch.cuda.synchronize(x_BLC.device)
        self.seconds += time.perf_counter() - started
        return x_BLC

    def images(self, x_BLC: Tensor) -> np.ndarray:
        """uint8 images (B, H, W) of tokens, finished or on their way."""
        return self._task.images(x_BLC).numpy()
