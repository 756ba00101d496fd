"""Images that are none of the classes: they train the judge's last class and calibrate its bar.

Every corruption maps real images (B, C, H, W) in [-1, 1], H = W, and a generator to such images.
"""

from collections.abc import Callable, Iterable

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
    coarse = torch.randn(len(x), x.shape[1], side, side, generator=g)
    fine = F.interpolate(coarse, size=x.shape[-2:], mode="bicubic", align_corners=False)
    return torch.tanh(3 * (fine - _uniform(g, x, -0.2, 1.2)))


def blank(x: Tensor, g: Generator) -> Tensor:
    """One level everywhere, often the background's, with a little noise."""
    level = torch.where(_uniform(g, x, 0, 1) < 0.5, -torch.ones(()), _uniform(g, x, -1, 1))
    return (level + torch.randn(x.shape, generator=g) * _uniform(g, x, 0, 0.1)).clamp(-1, 1)


def average(x: Tensor, g: Generator) -> Tensor:
    """The average of two images."""
    weight = _uniform(g, x, 0.35, 0.65)
    return weight * x + (1 - weight) * _another(x, g)


def overlay(x: Tensor, g: Generator) -> Tensor:
    """Two digits drawn over one another."""
    return torch.maximum(x, _another(x, g))


def halves(x: Tensor, g: Generator) -> Tensor:
    """Top (or left) of one image, bottom (or right) of another."""
    side = x.shape[-1]
    cut = int(torch.randint(round(0.4 * side), round(0.64 * side), (1,), generator=g))
    mixed, other = x.clone(), _another(x, g)
    mixed[..., cut:, :] = other[..., cut:, :]
    turned = x.clone()
    turned[..., cut:] = other[..., cut:]
    return torch.where(_uniform(g, x, 0, 1) < 0.5, mixed, turned)


def quadrants(x: Tensor, g: Generator) -> Tensor:
    """Four quarters of four images."""
    mixed, half = x.clone(), x.shape[-1] // 2
    mixed[..., :half, half:] = _another(x, g)[..., :half, half:]
    mixed[..., half:, :half] = _another(x, g)[..., half:, :half]
    mixed[..., half:, half:] = _another(x, g)[..., half:, half:]
    return mixed


def shuffled_patches(x: Tensor, g: Generator) -> Tensor:
    """Patches in random order, a different one for every image; of a side that divides the image's."""
    sides = [side for side in range(2, x.shape[-1]) if x.shape[-1] % side == 0]
    return shuffle(x, sides[int(torch.randint(len(sides), (1,), generator=g))], g)


def shuffled_pixels(x: Tensor, g: Generator) -> Tensor:
    """All pixels in random order."""
    return shuffle(x, 1, g)


def half_denoised(x: Tensor, g: Generator) -> Tensor:
    """The flow's own path (1 - t) noise + t image, at t in [0.2, 0.75]."""
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


def ground(x: Tensor, g: Generator) -> Tensor:
    """The corners' colours and what lies between them: no object."""
    corners = x[..., :: x.shape[-1] - 1, :: x.shape[-1] - 1]
    return F.interpolate(corners, size=x.shape[-2:], mode="bilinear", align_corners=True)


def _named(*corruptions: Corruption) -> dict[str, Corruption]:
    return {one.__name__: one for one in corruptions}  # pyright: ignore[reportFunctionMemberAccess]


OF_DIGITS = _named(
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
# A colour's negative or another colour may be an image of a class, and so may an overlay.
OF_COLOUR = _named(gaussian_noise, smooth_noise, average, halves, shuffled_patches, half_denoised)
OF_EMOJI = OF_COLOUR | _named(ground)


def corrupt(x: Tensor, g: Generator, kinds: Iterable[Corruption]) -> Tensor:
    """Corrupts every image with one corruption; all kinds occur in equal parts, but for the last, which may have less.

    Raises:
        ValueError: too few images for all kinds to occur.
    """
    kinds = list(kinds)
    parts = x[torch.randperm(len(x), generator=g)].chunk(len(kinds))
    return torch.cat([kind(part, g) for kind, part in zip(kinds, parts, strict=True)])


def shuffle(x: Tensor, side: int, g: Generator) -> Tensor:
    """Permutes the side x side patches of every image independently."""
    patches_BPN = F.unfold(x, side, stride=side)
    order_BN = torch.rand(len(x), patches_BPN.shape[-1], generator=g).argsort(-1)
    moved_BPN = patches_BPN.gather(-1, order_BN[:, None, :].expand_as(patches_BPN))
    return F.fold(moved_BPN, x.shape[-2:], side, stride=side)


def _another(x: Tensor, g: Generator) -> Tensor:
    """Another image for every image: the least similar of three random ones, so seldom of the same class."""
    if len(x) == 1:
        return -x
    shifts = torch.randint(1, len(x), (3,), generator=g).tolist()
    others = torch.stack([x.roll(shift, 0) for shift in shifts])
    farthest_B = (others - x).square().flatten(2).sum(-1).argmax(0)
    return others[farthest_B, torch.arange(len(x))]
