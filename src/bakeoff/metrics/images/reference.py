"""The real images that generated ones are compared with, as a judge sees them.

Shapes: N training images, R real images that nothing was trained on, F = 64 features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from bakeoff.data import as_images
from bakeoff.metrics.frechet import moments
from bakeoff.metrics.images.judge import Judge, shipped
from bakeoff.metrics.images.neighbours import nearest
from bakeoff.metrics.images.sharpness import sharpness

AT_ONCE = 1000


@dataclass(frozen=True)
class Reference:
    """What a judge sees of real images.

    Attributes:
        mean_F, cov_FF: of the training images' features, float64.
        sharpness: mean length of the training images' gradients.
        train_NF, unseen_RF: features, float32; None where no figure needs them.
    """

    mean_F: Tensor
    cov_FF: Tensor
    sharpness: float
    train_NF: Tensor | None = None
    unseen_RF: Tensor | None = None

    @cached_property
    def unseen_R(self) -> Tensor:
        """Distance of every unseen image to the nearest training image."""
        assert self.train_NF is not None and self.unseen_RF is not None
        return nearest(self.unseen_RF, self.train_NF)[0]


@cache
def shipped_reference(name: str) -> Reference:
    """What is kept in the file of a judge that ships."""
    tensors = load_file(shipped(name))
    return Reference(tensors["real_mean"], tensors["real_cov"], tensors["real_sharpness"].item())


def features(judge: Judge, images: np.ndarray) -> Tensor:
    """(N, F) float32 of uint8 images."""
    return torch.cat([judge.look(as_images(part))[0] for part in _parts(images)])


def mean_sharpness(images: np.ndarray) -> float:
    """Of uint8 images."""
    return sum(len(part) * sharpness(as_images(part)) for part in _parts(images)) / len(images)


def reference_of(train_NF: Tensor, unseen_RF: Tensor, sharp: float) -> Reference:
    return Reference(*moments(train_NF), sharp, train_NF, unseen_RF)


def _parts(images: np.ndarray) -> Iterable[np.ndarray]:
    return (images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE))
