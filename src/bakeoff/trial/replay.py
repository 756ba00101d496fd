"""The flow replayed: what every solver step makes of one noise, from a trained model."""

import time
from typing import NamedTuple

import numpy as np
from torch import Tensor

from bakeoff.protocol.schema import Sampling
from bakeoff.trial.checkpoint import Loaded


class Replay(NamedTuple):
    """frames_SBHW: uint8 images after 0, 1, ..., S steps; evaluations of the network a sample; seconds it took."""

    frames_SBHW: np.ndarray
    nfe: int
    seconds: float


def replay(loaded: Loaded, noise_BLC: Tensor, labels_B: Tensor | None, sampling: Sampling) -> Replay:
    """All steps from the noise to the images, each decoded as it stands."""
    started = time.perf_counter()
    trajectory = loaded.task.sample(loaded.model, noise_BLC, labels_B, sampling, keep_path=True)
    frames = [loaded.task.images(x_BLC).numpy() for x_BLC in trajectory.path or []]
    return Replay(np.stack(frames), trajectory.nfe, time.perf_counter() - started)
