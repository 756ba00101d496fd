"""Codecs between images and token grids: `pixel` patches, or the `latent` of a small frozen autoencoder.

Shapes: B images, L tokens in raster order, C values a token.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

SIDE = 28
LATENT_SIDE = 7
LATENT_CHANNELS = 4
SHIPPED = Path(__file__).parent / "weights" / "codec.safetensors"


class Codec(Protocol):
    """Images (B, 1, 28, 28) in [-1, 1] to tokens (B, L, C) of about unit variance, and back."""

    tokens: int
    channels: int

    def encode(self, images_B1HW: Tensor) -> Tensor: ...

    def decode(self, x_BLC: Tensor) -> Tensor: ...


class PixelCodec:
    """Non-overlapping square patches; exact both ways."""

    def __init__(self, patch: int) -> None:
        self.patch = patch
        self.tokens = (SIDE // patch) ** 2
        self.channels = patch * patch

    def encode(self, images_B1HW: Tensor) -> Tensor:
        return F.unfold(images_B1HW, self.patch, stride=self.patch).transpose(1, 2).contiguous()

    def decode(self, x_BLC: Tensor) -> Tensor:
        return F.fold(x_BLC.transpose(1, 2), (SIDE, SIDE), self.patch, stride=self.patch)


class Autoencoder(nn.Module):
    """28x28 images to a 7x7x4 latent and back; the bottleneck is normalised to zero mean, unit variance."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, LATENT_CHANNELS, 1),
            nn.BatchNorm2d(LATENT_CHANNELS, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, 1, 3, padding=1),
        )


class LatentCodec:
    """The frozen autoencoder that ships with the package: 49 tokens of 4 values.

    `scripts/train_codec.py` made it; `weights/codec.json` holds its reconstruction figures.
    """

    tokens = LATENT_SIDE * LATENT_SIDE
    channels = LATENT_CHANNELS

    def __init__(self, autoencoder: Autoencoder) -> None:
        self.autoencoder = autoencoder

    @torch.no_grad()
    def encode(self, images_B1HW: Tensor) -> Tensor:
        grid_BCHW = self.autoencoder.to(images_B1HW.device).encoder(images_B1HW)
        return grid_BCHW.flatten(2).transpose(1, 2).contiguous()

    @torch.no_grad()
    def decode(self, x_BLC: Tensor) -> Tensor:
        grid_BCHW = x_BLC.transpose(1, 2).unflatten(2, (LATENT_SIDE, LATENT_SIDE)).contiguous()
        return self.autoencoder.to(x_BLC.device).decoder(grid_BCHW).clamp(-1, 1)


@cache
def load_latent_codec() -> LatentCodec:
    """The shipped autoencoder, frozen, in float32."""
    autoencoder = Autoencoder()
    autoencoder.load_state_dict(load_file(SHIPPED))
    return LatentCodec(autoencoder.eval().requires_grad_(False))


def fingerprint() -> str:
    """SHA-256 of the shipped autoencoder file."""
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
