"""The codec of principal components: patches of an image without the directions in which those of training vary least.

What is learned is one orthonormal basis, in closed form, so that no result can be put down to a codec's training. All
components are divided by one number, that their mean variance is 1: whitened, the smallest would weigh as much as the
largest.

Shapes: B images, C' channels, L patches in raster order, V = C' patch^2 values a patch, C components kept.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from bakeoff.codecs.base import Codec
from bakeoff.codecs.pixel import PixelCodec
from bakeoff.protocol.space import Space

FITTED = 10_000  # the first of the training images
GRAIN = 2.0**-20  # to which the basis is rounded, so that machines whose libraries differ in the last bits agree


class Basis(NamedTuple):
    """mean_V and directions_VC of patches in [-1, 1], and the scale that divides components; float32."""

    mean_V: Tensor
    directions_VC: Tensor
    scale: float


class PcaCodec(Codec):
    """Turns images (B, C', side, side) in [-1, 1] into the components of their patches.

    Args:
        patch: side of a patch.
        components: kept, at most C' patch^2.
        side, channels: of the images.
        images: makes the training images, uint8 (N, H, W) or (N, H, W, C'), of whose first ones the basis is computed,
            once.
    """

    def __init__(self, patch: int, components: int, side: int, channels: int, images: Callable[[], np.ndarray]) -> None:
        self._patches, self._images, self._components = PixelCodec(patch, side, channels), images, components
        self.space = Space(self._patches.space.length, channels=components, grid=self._patches.space.grid)

    @classmethod
    def of_images(cls, options: Mapping[str, Any], side: int, channels: int, images: Callable[[], np.ndarray]) -> Self:
        return cls(side=side, channels=channels, images=images, **options)

    @cached_property
    def basis(self) -> Basis:
        images = torch.from_numpy(self._images()[:FITTED])
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return fit(self._patches, images, self._components)

    def encode(self, items: Tensor) -> Tensor:
        mean_V, directions_VC, scale = self.basis
        patches_BLV = self._patches.encode(items)
        return (patches_BLV - mean_V.to(items.device)) @ directions_VC.to(items.device) / scale

    def decode(self, x: Tensor) -> Tensor:
        mean_V, directions_VC, scale = self.basis
        return self._patches.decode(x.float() * scale @ directions_VC.T.to(x.device) + mean_V.to(x.device))

    def fingerprint(self) -> str:
        """SHA-256 of the basis, hex."""
        mean_V, directions_VC, scale = self.basis
        content = mean_V.numpy().tobytes() + directions_VC.numpy().tobytes() + np.float64(scale).tobytes()
        return hashlib.sha256(content).hexdigest()


def fit(patches: PixelCodec, images_NCHW: Tensor, components: int, at_once: int = 1000) -> Basis:
    """The basis of uint8 images; sums of levels and of products are whole numbers, in float64 exact in any order."""
    size = patches.space.channels
    sums_V, products_VV = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for part in images_NCHW.split(at_once):
        levels = patches.encode(part.float()).double().flatten(0, 1)
        sums_V += levels.sum(0)
        products_VV += levels.T @ levels
    count = len(images_NCHW) * patches.space.length
    mean_V = sums_V / count
    covariance_VV = (products_VV / count - mean_V[:, None] * mean_V) / 127.5**2
    values_V, vectors_VV = torch.linalg.eigh(covariance_VV)
    kept_VC = vectors_VV.flip(1)[:, :components]
    largest_1C = kept_VC.abs().argmax(0, keepdim=True)
    kept_VC = kept_VC * kept_VC.gather(0, largest_1C).sign()  # of either sign: the largest value is positive
    variance = values_V.flip(0)[:components].mean().clamp_min(GRAIN).item()
    scale = round(variance**0.5 / GRAIN) * GRAIN
    return Basis(_grained(mean_V / 127.5 - 1), _grained(kept_VC), scale)


def _grained(x: Tensor) -> Tensor:
    return ((x / GRAIN).round() * GRAIN).float().contiguous()
