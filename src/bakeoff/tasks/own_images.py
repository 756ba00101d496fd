"""Images that may not be shipped: CIFAR-10 and Fashion-MNIST from the user's files, with a judge that is made here.

The judge is trained once on this machine, by `bakeoff calibrate`, because weights that were trained on such data may be
under their licence too; the seal has its digest.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch

from bakeoff.data import ImageSet, as_images, cifar, fashion, own
from bakeoff.data.made import home
from bakeoff.errors import BakeoffError
from bakeoff.metrics import images as judges
from bakeoff.metrics.images import training
from bakeoff.protocol.figures import IMAGES
from bakeoff.tasks.base import Split
from bakeoff.tasks.calibration import Calibration
from bakeoff.tasks.images import Images

EPOCHS, SEED = 12, 0  # of the judge
MISSING = "none yet"  # in place of the digest of a judge that has not been trained


class OwnImages(Images):
    """A set of the user's under one protocol.

    Attributes:
        recipe: of its judge.
    """

    figures = tuple(IMAGES.values())
    question = "whether its pictures are clean, whether it is noise"
    recipe: ClassVar[training.Recipe]

    def images(self, split: Split, data_dir: Path | None = None) -> ImageSet:
        if data_dir is not None and not own.place(self.judge).is_file():
            own.take(self.judge, data_dir)
        return own.load(self.judge, "train" if split == "train" else "test")

    def check_data(self, data_dir: Path | None) -> None:
        if data_dir is not None:
            own.take(self.judge, data_dir)

    def missing(self) -> str:
        return own.missing(self.judge) or ("" if self.weights.is_file() else self._no_judge)

    def sources(self) -> dict[str, str]:
        return {self.judge: own.kept_digest(self.judge)}

    @property
    def weights(self) -> Path:
        """The file of the judge."""
        return home() / "judges" / f"{self.judge}-{own.kept_digest(self.judge)[:12]}.safetensors"

    def looking(self) -> judges.Judge:
        return self._judge

    @cached_property
    def _judge(self) -> judges.Judge:
        if not self.weights.is_file():
            raise BakeoffError(f"{self.judge}: {self._no_judge}.")
        return judges.read_judge(self.weights, judges.NETWORKS[self.judge])

    @property
    def _no_judge(self) -> str:
        return f"its judge is trained on this machine, once; run `bakeoff calibrate {self.protocol.name}` first"

    def judge_digest(self) -> str:
        return judges.fingerprint(self.weights) if self.weights.is_file() else MISSING

    def calibrate(self, device: torch.device) -> Calibration:
        """Trains the judge where there is none, some minutes, and then measures."""
        if not self.weights.is_file():
            images = self.images("train")
            labels_N = torch.from_numpy(images.labels_N).long()
            trained = training.train(self.recipe, as_images(images.images), labels_N, EPOCHS, SEED)
            self.weights.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.weights.with_suffix(f".{os.getpid()}.tmp")
            judges.save_judge(judges.Judge(trained), temporary)
            os.replace(temporary, self.weights)
        return super().calibrate(device)


class Cifar10(OwnImages):
    item = "picture"
    names = cifar.NAMES
    judge = "cifar10"
    recipe = training.COLOUR


class Fashion(OwnImages):
    item = "garment"
    names = fashion.NAMES
    judge = "fashion"
    recipe = training.GREY
