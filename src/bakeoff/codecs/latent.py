"""The latent of a small frozen autoencoder of 28x28 grey images, which ships with the package.

`scripts/train_codec.py` made it; `weights/codec.json` holds its reconstruction figures.

Shapes: B images, L = 49 tokens in raster order, C = 4 values a token.
"""

import hashlib
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bakeoff.codecs.base import Codec
from bakeoff.protocol.space import Space

LATENT_SIDE = 7
LATENT_CHANNELS = 4
SHIPPED = Path(__file__).parent / "weights" / "codec.safetensors"


class Autoencoder(nn.Module):
    """Maps 28x28 images to a 7x7x4 latent and back; the bottleneck is normalised to zero mean and unit variance."""

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


class LatentCodec(Codec):
    """Turns images (B, 1, 28, 28) in [-1, 1] into 49 tokens of 4 values."""

    space = Space(LATENT_SIDE**2, channels=LATENT_CHANNELS, grid=(LATENT_SIDE, LATENT_SIDE))

    def __init__(self, autoencoder: Autoencoder | None = None) -> None:
        self.autoencoder = autoencoder or load_autoencoder()

    @torch.no_grad()
    def encode(self, items: Tensor) -> Tensor:
        grid_BCHW = self.autoencoder.to(items.device).encoder(items)
        return grid_BCHW.flatten(2).transpose(1, 2).contiguous()

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        grid_BCHW = x.transpose(1, 2).unflatten(2, (LATENT_SIDE, LATENT_SIDE)).contiguous()
        return self.autoencoder.to(x.device).decoder(grid_BCHW).clamp(-1, 1)

    def fingerprint(self) -> str:
        return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


@cache
def load_autoencoder() -> Autoencoder:
    """The shipped autoencoder, frozen, in float32."""
    autoencoder = Autoencoder()
    autoencoder.load_state_dict(load_file(SHIPPED))
    return autoencoder.eval().requires_grad_(False)
