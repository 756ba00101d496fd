"""The judge's figures on images of known kind; they show what a bar lets through."""

import json
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from bakeoff.data import as_images, load_mnist
from bakeoff.metrics.digits.classifier import load_judge
from bakeoff.metrics.digits.corruptions import CORRUPTIONS, shuffle
from bakeoff.metrics.digits.quality import assess

SHIPPED = Path(__file__).parent / "weights" / "calibration.json"
COUNTS = (64, 256, 1024)


@cache
def shipped_calibration() -> dict[str, Any]:
    """The table that ships with the package, made by `measure_calibration`."""
    return json.loads(SHIPPED.read_text())


def noisy(level: float) -> Callable[[Tensor, Generator], Tensor]:
    return lambda x, g: (x + level * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def flow_at(t: float) -> Callable[[Tensor, Generator], Tensor]:
    return lambda x, g: ((1 - t) * torch.randn(x.shape, generator=g) + t * x).clamp(-1, 1)


def partly(share: float, kind: Callable[[Tensor, Generator], Tensor]) -> Callable[[Tensor, Generator], Tensor]:
    def mixed(x: Tensor, g: Generator) -> Tensor:
        bad = int(share * len(x))
        return torch.cat([kind(x[:bad], g), x[bad:]])

    return mixed


KINDS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "real": lambda x, g: x,
    "real + noise 0.1": noisy(0.1),
    "real + noise 0.2": noisy(0.2),
    "flow at t = 0.9": flow_at(0.9),
    "flow at t = 0.8": flow_at(0.8),
    "flow at t = 0.5": flow_at(0.5),
    "N(0, 1) noise": lambda x, g: torch.randn(x.shape, generator=g),
    "blank": lambda x, g: torch.full_like(x, -1.0),
    "4x4 patches shuffled": lambda x, g: shuffle(x, 4, g),
    "half the set noise": partly(0.5, CORRUPTIONS["gaussian_noise"]),
    "a third of the set blends": partly(1 / 3, CORRUPTIONS["average"]),
} | {name.replace("_", " "): corruption for name, corruption in CORRUPTIONS.items()}


def measure_calibration(draws: int = 20, seed: int = 7) -> dict[str, Any]:
    """Measures the judge's figures for every kind of image, as plain values; takes some minutes.

    Every row is one kind of image, made from every second test digit (the judge has never seen them; the tests use the
    others), over `draws` random draws of each sample count.
    """
    digits = load_mnist("test")
    images_N1HW = as_images(digits.images_NHW[::2])
    judge, table = load_judge(), {}
    for count in COUNTS:
        rows = {}
        for kind, corrupt in KINDS.items():
            drawn = []
            for draw in range(draws):
                g = Generator().manual_seed(1_000_003 * seed + 997 * draw + count)
                pick = torch.randperm(len(images_N1HW), generator=g)[:count]
                drawn.append(assess(judge, corrupt(images_N1HW[pick], g)))
            rows[kind] = {name: _spread([one.figures[name] for one in drawn]) for name in drawn[0].figures}
        table[str(count)] = rows
    return {"draws": draws, "seed": seed, "samples": table}


def _spread(values: list[float]) -> list[float]:
    return [round(v, 3) for v in (min(values), statistics.median(values), max(values))]
