"""The contract of a codec: it turns items into tokens and back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from bakeoff.protocol.space import Space


class Codec(ABC):
    """Turns items into tokens of about unit variance, and back; frozen.

    Attributes:
        space: the space of its tokens; a task adds labels and context.
    """

    space: Space

    @classmethod
    def of_images(cls, options: Mapping[str, Any], side: int, channels: int, images: Callable[[], np.ndarray]) -> Self:
        """The codec with these options, for images of this size.

        Args:
            images: makes the training images, uint8 (N, H, W) or (N, H, W, 3), for what is computed from them.
        """
        return cls(**options)

    @abstractmethod
    def encode(self, items: Tensor) -> Tensor: ...

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor: ...

    def fingerprint(self) -> str | None:
        """SHA-256 of the trained weights, hex; None if nothing was trained."""
        return None

    def stem(self, d_model: int) -> nn.Module | None:
        """A trained embedding of its tokens, if a linear map is not enough."""
        return None
