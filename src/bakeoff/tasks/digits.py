"""The task of MNIST digits, generated class by class and judged by the shipped judge.

Shapes: B images, L tokens, C values a token, N training images.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bakeoff.artefacts.base import Items
from bakeoff.data import as_images, load_mnist, mnist
from bakeoff.errors import BakeoffError
from bakeoff.metrics import digits as judge
from bakeoff.models.batch import Batch
from bakeoff.objectives.base import Floor
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.protocol.figures import DIGITS
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.tasks import DIGIT_CLASSES, Mnist
from bakeoff.registry import CODECS
from bakeoff.tasks.base import Finite, Split, Task
from bakeoff.tasks.calibration import Calibration, read_calibration

ENCODED_AT_ONCE = 1000


class Digits(Task):
    """MNIST under one protocol."""

    kind = "images"
    figures = tuple(DIGITS.values())
    item = "digit"
    calibrated = True
    question = "whether its digits are clean, whether it is noise"

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        task, codec = protocol.task, protocol.codec
        assert isinstance(task, Mnist) and codec is not None  # the protocol's sections guarantee it
        options = codec.model_dump(exclude={"kind"}) | ({"side": mnist.SIDE} if codec.kind == "pixel" else {})
        self.train_images = task.train_images
        self.codec = CODECS.get(codec.kind)(**options)
        self.space = replace(self.codec.space, classes=DIGIT_CLASSES if task.conditional else 0)

    def inputs(self) -> dict[str, str]:
        codec = self.codec.fingerprint()
        return {**mnist.fingerprint(), "judge": judge.fingerprint()} | ({} if codec is None else {"codec": codec})

    def check_data(self, data_dir: Path | None) -> None:
        if data_dir is not None:
            load_mnist("train", data_dir)
        if data_dir is not None and self.protocol.to_try:
            load_mnist("test", data_dir)

    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Finite:
        """MNIST has two splits; no figure of the verdict reads the test digits, so that a sweep may choose by them."""
        digits = load_mnist("train" if split == "train" else "test", data_dir)
        count = self.train_images if split == "train" else len(digits.labels_N)
        x_NLC = torch.empty(count, self.space.length, self.space.channels)
        for start in range(0, count, ENCODED_AT_ONCE):  # in parts, so that a trial's memory does not peak here
            end = min(start + ENCODED_AT_ONCE, count)
            x_NLC[start:end] = self.codec.encode(as_images(digits.images_NHW[start:end]))
        labels_N = torch.from_numpy(digits.labels_N[:count]).long().to(device) if self.space.classes else None
        return Finite(Batch(x_NLC.to(device), labels_B=labels_N), self.protocol.training.batch)

    def prompts(self, count: int, label: int | None = None) -> Batch:
        if not self.space.classes:
            return Batch(size=count)
        labels_B = torch.arange(count) % self.space.classes if label is None else torch.full((count,), label)
        return Batch(labels_B=labels_B, size=count)

    def items(self, x: Tensor, prompts: Batch) -> Items:
        """uint8 images (B, 28, 28), with the requested digits."""
        images_BHW = self.codec.decode(x).squeeze(1).clamp(-1, 1)
        images = ((images_BHW + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        if prompts.labels_B is None:
            return Items({"images": images})
        return Items({"images": images, "labels": prompts.labels_B.to(torch.uint8).cpu().numpy()})

    def assess(self, items: Items, prompts: Batch) -> Quality:
        if "images" not in items:
            raise BakeoffError(f"items with {', '.join(items.arrays)[:80]}: digits are images.")
        images = items["images"]
        if images.shape[1:] != (mnist.SIDE, mnist.SIDE):
            raise BakeoffError(f"images of shape {images.shape[1:]}: digits have {mnist.SIDE} x {mnist.SIDE} pixels.")
        return judge.assess(judge.load_judge(), as_images(images))

    def calibrate(self, device: torch.device) -> Calibration:
        return read_calibration(judge.measure_calibration())

    def calibration(self) -> Calibration:
        """The calibration that ships with the package."""
        return read_calibration(judge.shipped_calibration())


def pixel_floor(pixel_range: tuple[float, float], train_images: int, draws: int = 2048) -> Floor:
    """The floor of unconditional flow matching, t uniform, on MNIST's first `train_images` images in a pixel range."""
    floor = memoriser_floor(as_images(load_mnist("train").images_NHW[:train_images]), draws=draws)
    low, high = pixel_range
    scale = (high - low) / 2  # the images are in [-1, 1], and the floor is proportional to the scale
    return replace(floor, value=scale * floor.value, stderr=scale * floor.stderr)
