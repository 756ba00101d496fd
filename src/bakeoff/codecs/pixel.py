"""The pixel codec: tokens are the square patches of an image, exact in both directions.

Shapes: B images, C' channels, H = W = side, L patches in raster order, C = C' patch^2 values a token.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from bakeoff.codecs.base import Codec
from bakeoff.protocol.space import Space


class PixelCodec(Codec):
    """Non-overlapping square patches of images (B, C', side, side)."""

    def __init__(self, patch: int, side: int, channels: int = 1) -> None:
        self.patch, self.side = patch, side
        across = side // patch
        self.space = Space(across**2, channels=channels * patch**2, grid=(across, across))

    @classmethod
    def of_images(cls, options: Mapping[str, Any], side: int, channels: int, images: Callable[[], np.ndarray]) -> Self:
        return cls(side=side, channels=channels, **options)

    def encode(self, items: Tensor) -> Tensor:
        return F.unfold(items, self.patch, stride=self.patch).transpose(1, 2).contiguous()

    def decode(self, x: Tensor) -> Tensor:
        return F.fold(x.transpose(1, 2), (self.side, self.side), self.patch, stride=self.patch)
