"""A task of one's own, whole: two numbers are given, their sum and their difference are to be generated."""

import hashlib
import json

import numpy as np
import torch
from PIL import Image, ImageDraw

from bakeoff.artefacts.base import Items, Kind
from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.protocol.figures import Figure
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator
from bakeoff.tasks.base import Endless, Task


def sums(seed: int, step: int, count: int) -> Batch:
    given = torch.randn(count, 2, 1, generator=generator("sums", seed, step))
    made = torch.stack([given.sum(1), given[:, 0] - given[:, 1]], 1) / 2**0.5
    return Batch(x=made, context=given)


class Numbers(Kind):
    name, suffix = "numbers", ".json"

    def pack(self, items: Items) -> bytes:
        return json.dumps({name: array.round(6).tolist() for name, array in items.arrays.items()}).encode()

    def unpack(self, content: bytes, count: int | None) -> Items:
        try:
            document = json.loads(content)
            items = Items({name: np.array(document[name], dtype=np.float64) for name in ("given", "made")})
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BakeoffError("no pairs of numbers") from None
        if any(array.shape != (len(items), 2) for array in items.arrays.values()) or count not in (None, len(items)):
            raise BakeoffError(f"{len(items)} pairs of numbers; expected {count}.")
        return items

    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        rows = -(-len(items) // columns)
        picture = Image.new("L", (150 * columns, 30 * rows), 255)
        for i, (given, made) in enumerate(zip(items["given"], items["made"], strict=True)):
            place = 150 * (i % columns) + 4, 30 * (i // columns) + 8
            ImageDraw.Draw(picture).text(place, f"{given.round(1)} {made.round(1)}", fill=0)
        return picture


class Sums(Task):
    kind, item = "toy:Numbers", "pair of numbers"
    question = "whether these are sums and differences, whether it is noise"
    space = Space(2, channels=1, context=2, context_channels=1)
    figures = (
        Figure("close", "share within 0.5", "higher", low=0, high=1, of="items"),
        Figure("error", "mean error", "lower", low=0, of="items"),
    )

    def data(self, device, data_dir=None, split="train", length=None):
        return Endless(sums, self.protocol.training.batch, device)

    def prompts(self, count, label=None):
        return sums(1, 0, count)._replace(x=None)

    def items(self, x, prompts):
        return Items(
            {"given": prompts.context[..., 0].cpu().double().numpy(), "made": x[..., 0].cpu().double().numpy()}
        )

    def assess(self, items, prompts):
        a, b = items["given"].T
        error = np.abs(items["made"] - np.stack([a + b, a - b], 1) / 2**0.5).mean(1)
        return Quality(samples=len(items), figures={"close": (error < 0.5).mean(), "error": error.mean()})

    def inputs(self):
        return {"sums": hashlib.sha256(b"two normal numbers").hexdigest()}
