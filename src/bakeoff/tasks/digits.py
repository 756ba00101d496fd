"""The task of MNIST digits."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from bakeoff.data import ImageSet, as_images, load_mnist, mnist
from bakeoff.metrics import images as judges
from bakeoff.objectives.base import Floor
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.protocol.figures import DIGITS
from bakeoff.protocol.measurement import Quality
from bakeoff.tasks.base import Split
from bakeoff.tasks.images import Images


class Digits(Images):
    """MNIST under one protocol."""

    item = "digit"
    figures = tuple(DIGITS.values())
    question = "whether its digits are clean, whether it is noise"
    judge = "digits"

    def images(self, split: Split, data_dir: Path | None = None) -> ImageSet:
        return load_mnist("train" if split == "train" else "test", data_dir)

    def sources(self) -> dict[str, str]:
        return mnist.fingerprint()

    def check_data(self, data_dir: Path | None) -> None:
        if data_dir is not None:
            load_mnist("train", data_dir)
        if data_dir is not None and self.protocol.to_try:
            load_mnist("test", data_dir)

    def judged(self, images_BCHW: Tensor, asked_B: Tensor | None) -> Quality:
        return judges.assess(judges.load_judge(self.judge), judges.shipped_reference(self.judge), images_BCHW)


def pixel_floor(pixel_range: tuple[float, float], train_images: int, draws: int = 2048) -> Floor:
    """The floor of unconditional flow matching, t uniform, on MNIST's first `train_images` images in a pixel range."""
    floor = memoriser_floor(as_images(load_mnist("train").images[:train_images]), draws=draws)
    low, high = pixel_range
    scale = (high - low) / 2  # the images are in [-1, 1], and the floor is proportional to the scale
    return replace(floor, value=scale * floor.value, stderr=scale * floor.stderr)
