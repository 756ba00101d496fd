"""A judge's figures on images of known kind; they show what a bar lets through."""

import json
import statistics
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from bakeoff.metrics.images.corruptions import OF_COLOUR, OF_DIGITS, OF_EMOJI, Corruption, shuffle
from bakeoff.metrics.images.judge import WEIGHTS
from bakeoff.protocol.measurement import Quality

COUNTS = (64, 256, 1024)


@cache
def shipped_calibration(name: str) -> dict[str, Any] | None:
    """The table of this name that ships with the package, made by `measure`; None if there is none."""
    path = table(name)
    return json.loads(path.read_text()) if path.is_file() else None


def table(name: str) -> Path:
    """The file of a table that ships."""
    return WEIGHTS / f"{name}.json"


def noisy(level: float) -> Corruption:
    return lambda x, g: (x + level * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def flow_at(t: float) -> Corruption:
    return lambda x, g: ((1 - t) * torch.randn(x.shape, generator=g) + t * x).clamp(-1, 1)


def partly(share: float, kind: Corruption) -> Corruption:
    def mixed(x: Tensor, g: Generator) -> Tensor:
        bad = int(share * len(x))
        return torch.cat([kind(x[:bad], g), x[bad:]])

    return mixed


def blurred(side: int) -> Corruption:
    """Means of side x side pixels, drawn smoothly."""

    def blur(x: Tensor, g: Generator) -> Tensor:
        small = torch.nn.functional.avg_pool2d(x, side)
        return torch.nn.functional.interpolate(small, size=x.shape[-2:], mode="bilinear")

    return blur


def _spaced(kinds: Mapping[str, Corruption]) -> dict[str, Corruption]:
    return {name.replace("_", " "): corruption for name, corruption in kinds.items()}


ANY: dict[str, Corruption] = {
    "real": lambda x, g: x,
    "real + noise 0.1": noisy(0.1),
    "real + noise 0.2": noisy(0.2),
    "flow at t = 0.9": flow_at(0.9),
    "flow at t = 0.8": flow_at(0.8),
    "flow at t = 0.5": flow_at(0.5),
    "N(0, 1) noise": lambda x, g: torch.randn(x.shape, generator=g),
    "blank": lambda x, g: torch.full_like(x, -1.0),
    "4x4 patches shuffled": lambda x, g: shuffle(x, 4, g),
    "half the set noise": partly(0.5, OF_DIGITS["gaussian_noise"]),
    "a third of the set blends": partly(1 / 3, OF_DIGITS["average"]),
}
DIGITS = ANY | _spaced(OF_DIGITS)
EMOJI = (
    ANY
    | {
        "a third of the set halves": partly(1 / 3, OF_DIGITS["halves"]),
        "blurred 2 x 2": blurred(2),
        "blurred 4 x 4": blurred(4),
        "grey": lambda x, g: x.mean(1, keepdim=True).expand_as(x),
        "channels rotated": lambda x, g: x.roll(1, 1),
    }
    | _spaced(OF_EMOJI)
)

COLOUR = {name: kind for name, kind in EMOJI.items() if name not in OF_EMOJI.keys() - OF_COLOUR.keys()}
KINDS = {"digits": DIGITS, "emoji": EMOJI, "fashion": DIGITS, "cifar10": COLOUR}  # by judge


def measure(
    assess: Callable[[Tensor, Tensor], Quality],
    pools: Mapping[str, tuple[Tensor, Tensor]],
    kinds: Mapping[str, Corruption],
    draws: int = 20,
    seed: int = 7,
) -> dict[str, Any]:
    """A judge's figures for every kind of image, as plain values; takes some minutes.

    Every row is one kind of image, over `draws` random draws of each sample count.

    Args:
        assess: (images, labels) -> their figures.
        pools: "real", whose images are also corrupted, and by name what else is drawn from; images and labels.
        kinds: what is made of the real ones.
    """
    samples = {}
    for count in COUNTS:
        rows: dict[str, list[Quality]] = {name: [] for name in (*kinds, *(set(pools) - {"real"}))}
        for name, drawn in rows.items():
            images_NCHW, labels_N = pools.get(name, pools["real"])
            corrupt = kinds.get(name, kinds["real"])
            for draw in range(draws):
                g = Generator().manual_seed(1_000_003 * seed + 997 * draw + count)
                pick = torch.randperm(len(images_NCHW), generator=g)[:count]
                if len(pick) == count:
                    drawn.append(assess(corrupt(images_NCHW[pick], g), labels_N[pick]))
        samples[str(count)] = {
            name: {figure: _spread([one.figures[figure] for one in drawn]) for figure in drawn[0].figures}
            for name, drawn in rows.items()
            if drawn
        }
    return {"draws": draws, "seed": seed, "samples": samples}


def _spread(values: list[float]) -> list[float]:
    return [round(v, 3) for v in (min(values), statistics.median(values), max(values))]
