"""The latent of a small frozen autoencoder; those of digits and of emoji ship with the package.

`scripts/train_codec.py` made them; `weights/*.json` holds the figures of their reconstructions.

Shapes: B images, L tokens in raster order, C values a token.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bakeoff.codecs.base import Codec
from bakeoff.protocol.space import Space

WEIGHTS = Path(__file__).parent / "weights"


class Design(NamedTuple):
    """Images of `channels` x side x side become side / 4 x side / 4 tokens of `latent` values."""

    name: str
    side: int
    channels: int
    latent: int
    width: int

    @property
    def weights(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"


DIGITS = Design("digits", side=28, channels=1, latent=4, width=32)
EMOJI = Design("emoji", side=32, channels=3, latent=8, width=48)
DESIGNS = {(one.side, one.channels): one for one in (DIGITS, EMOJI)}


class Autoencoder(nn.Module):
    """Maps images to a latent of a quarter of their side and back; the bottleneck has zero mean and unit variance."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        channels, latent, width = design.channels, design.latent, design.width
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, latent, 1),
            nn.BatchNorm2d(latent, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, channels, 3, padding=1),
        )


class LatentCodec(Codec):
    """Turns images in [-1, 1] into tokens: of digits 49 of 4 values, of emoji 64 of 8."""

    def __init__(self, design: Design, autoencoder: Autoencoder | None = None) -> None:
        self.design = design
        self.autoencoder = autoencoder or load_autoencoder(design)
        across = design.side // 4
        self.space = Space(across**2, channels=design.latent, grid=(across, across))

    @classmethod
    def of_images(cls, options: Mapping[str, Any], side: int, channels: int, images: Callable[[], np.ndarray]) -> Self:
        return cls(DESIGNS[side, channels], **options)

    @torch.no_grad()
    def encode(self, items: Tensor) -> Tensor:
        grid_BCHW = self.autoencoder.to(items.device).encoder(items)
        return grid_BCHW.flatten(2).transpose(1, 2).contiguous()

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        grid_BCHW = x.transpose(1, 2).unflatten(2, self.space.grid).contiguous()
        return self.autoencoder.to(x.device).decoder(grid_BCHW).clamp(-1, 1)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.design.weights.read_bytes()).hexdigest()


@cache
def load_autoencoder(design: Design) -> Autoencoder:
    """The one that ships, frozen, in float32."""
    autoencoder = Autoencoder(design)
    autoencoder.load_state_dict(load_file(design.weights))
    return autoencoder.eval().requires_grad_(False)
