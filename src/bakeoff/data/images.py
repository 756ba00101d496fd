"""A set of images as plain arrays, with their labels.

Shapes: N images of H x W pixels, uint8; grey (N, H, W) or colour (N, H, W, 3).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """One split: images uint8, and labels_N uint8 from 0 on."""

    images: np.ndarray
    labels_N: np.ndarray


def as_images(images: np.ndarray | Tensor) -> Tensor:
    """uint8 images to float32 (N, C, H, W) in [-1, 1], C = 1 for grey."""
    scaled = torch.as_tensor(images).float().div(127.5).sub(1)
    return scaled.unsqueeze(1) if scaled.ndim == 3 else scaled.permute(0, 3, 1, 2).contiguous()
