"""Images that are not digits: they train the judge's eleventh class and calibrate its bar.

Every corruption maps real digits_B1HW in [-1, 1] and a generator to images of the same shape in [-1, 1].
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Corruption = Callable[[Tensor, Generator], Tensor]


def _uniform(g: Generator, x: Tensor, low: float, high: float) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, generator=g) * (high - low) + low


def gaussian_noise(x: Tensor, g: Generator) -> Tensor:
    """N(0, s^2) pixels, s in [0.3, 1.5]."""
    return (torch.randn(x.shape, generator=g) * _uniform(g, x, 0.3, 1.5)).clamp(-1, 1)


def uniform_noise(x: Tensor, g: Generator) -> Tensor:
    """Pixels uniform in [-1, 1]."""
    return torch.rand(x.shape, generator=g) * 2 - 1


def smooth_noise(x: Tensor, g: Generator) -> Tensor:
    """Blobs of the size of strokes: noise on a coarse grid, interpolated, sharpened."""
    side = int(torch.randint(4, 12, (1,), generator=g))
    coarse = torch.randn(len(x), 1, side, side, generator=g)
    fine = F.interpolate(coarse, size=x.shape[-2:], mode="bicubic", align_corners=False)
    return torch.tanh(3 * (fine - _uniform(g, x, -0.2, 1.2)))


def blank(x: Tensor, g: Generator) -> Tensor:
    """One level everywhere, often the background's, with a little noise."""
    level = torch.where(_uniform(g, x, 0, 1) < 0.5, -torch.ones(()), _uniform(g, x, -1, 1))
    return (level + torch.randn(x.shape, generator=g) * _uniform(g, x, 0, 0.1)).clamp(-1, 1)


def average(x: Tensor, g: Generator) -> Tensor:
    """The average of two digits."""
    weight = _uniform(g, x, 0.35, 0.65)
    return weight * x + (1 - weight) * _another(x, g)


def overlay(x: Tensor, g: Generator) -> Tensor:
    """Two digits drawn over one another."""
    return torch.maximum(x, _another(x, g))


def halves(x: Tensor, g: Generator) -> Tensor:
    """Top (or left) of one digit, bottom (or right) of another."""
    cut = int(torch.randint(11, 18, (1,), generator=g))
    mixed, other = x.clone(), _another(x, g)
    mixed[..., cut:, :] = other[..., cut:, :]
    turned = x.clone()
    turned[..., cut:] = other[..., cut:]
    return torch.where(_uniform(g, x, 0, 1) < 0.5, mixed, turned)


def quadrants(x: Tensor, g: Generator) -> Tensor:
    """Four quarters of four digits."""
    mixed = x.clone()
    mixed[..., :14, 14:] = _another(x, g)[..., :14, 14:]
    mixed[..., 14:, :14] = _another(x, g)[..., 14:, :14]
    mixed[..., 14:, 14:] = _another(x, g)[..., 14:, 14:]
    return mixed


def shuffled_patches(x: Tensor, g: Generator) -> Tensor:
    """Patches of side 2, 4, 7 or 14 in random order, a different one for every image."""
    side = (2, 4, 7, 14)[int(torch.randint(4, (1,), generator=g))]
    return shuffle(x, side, g)


def shuffled_pixels(x: Tensor, g: Generator) -> Tensor:
    """All pixels in random order."""
    return shuffle(x, 1, g)


def half_denoised(x: Tensor, g: Generator) -> Tensor:
    """The flow's own path (1 - t) noise + t digit, at t in [0.2, 0.75]."""
    t = _uniform(g, x, 0.2, 0.75)
    return ((1 - t) * torch.randn(x.shape, generator=g) + t * x).clamp(-1, 1)


def border_ring(x: Tensor, g: Generator) -> Tensor:
    """Noise inside a ring of ink at the border, as models without positions make it."""
    width = int(torch.randint(1, 5, (1,), generator=g))
    ring = torch.ones_like(x)
    ring[..., width:-width, width:-width] = -1
    speckle = torch.randn(x.shape, generator=g) * _uniform(g, x, 0.1, 0.8)
    return (ring * _uniform(g, x, 0.3, 1.0) + speckle).clamp(-1, 1)


def negative(x: Tensor, g: Generator) -> Tensor:
    """Dark ink on light paper."""
    return -x


CORRUPTIONS: dict[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        gaussian_noise,
        uniform_noise,
        smooth_noise,
        blank,
        average,
        overlay,
        halves,
        quadrants,
        shuffled_patches,
        shuffled_pixels,
        half_denoised,
        border_ring,
        negative,
    )
}


def corrupt(x: Tensor, g: Generator) -> Tensor:
    """Corrupts every image with one corruption; all kinds occur in equal parts."""
    kinds = list(CORRUPTIONS.values())
    parts = x[torch.randperm(len(x), generator=g)].chunk(len(kinds))
    return torch.cat([kind(part, g) for kind, part in zip(kinds, parts, strict=False)])


def shuffle(x: Tensor, side: int, g: Generator) -> Tensor:
    """Permutes the side x side patches of every image independently."""
    patches_BPN = F.unfold(x, side, stride=side)
    order_BN = torch.rand(len(x), patches_BPN.shape[-1], generator=g).argsort(-1)
    moved_BPN = patches_BPN.gather(-1, order_BN[:, None, :].expand_as(patches_BPN))
    return F.fold(moved_BPN, x.shape[-2:], side, stride=side)


def _another(x: Tensor, g: Generator) -> Tensor:
    """Another image for every image: the least similar of three random ones, so seldom the same digit."""
    if len(x) == 1:
        return -x
    shifts = torch.randint(1, len(x), (3,), generator=g).tolist()
    others = torch.stack([x.roll(shift, 0) for shift in shifts])
    farthest_B = (others - x).square().flatten(2).sum(-1).argmax(0)
    return others[farthest_B, torch.arange(len(x))]
