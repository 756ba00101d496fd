"""The task of images of any side, colour and classes: generated class by class, and judged by a frozen judge.

A set of images is a subclass that says where they come from and who judges them. Shapes: B images, L tokens, C values a
token, N training images.
"""

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bakeoff.artefacts.base import Items
from bakeoff.codecs.base import Codec
from bakeoff.data import ImageSet, as_images
from bakeoff.data.made import kept
from bakeoff.errors import BakeoffError
from bakeoff.metrics import images as judges
from bakeoff.models.batch import Batch
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.tasks import CLASSES, ImageTask
from bakeoff.registry import CODECS
from bakeoff.tasks.base import Finite, Split, Task
from bakeoff.tasks.calibration import Calibration, load_calibration, read_calibration

ENCODED_AT_ONCE = 1000
UNSEEN = 1024  # real images of the reference that nothing was trained on


class Images(Task):
    """A set of images under one protocol.

    Attributes:
        judge: name of its judge.
    """

    kind = "images"
    calibrated = True
    judge: ClassVar[str]

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        task, codec = protocol.task, protocol.codec
        assert isinstance(task, ImageTask) and codec is not None  # the protocol's sections guarantee it
        self.section = task
        options = codec.model_dump(exclude={"kind"})
        made: type[Codec] = CODECS.get(codec.kind)
        self.codec = made.of_images(
            options, task.side, task.channels, lambda: self.images("train").images[: task.items]
        )
        self.space = replace(self.codec.space, classes=CLASSES if task.conditional else 0)

    @abstractmethod
    def images(self, split: Split, data_dir: Path | None = None) -> ImageSet:
        """The images of a split, at least the training images that the protocol asks for; "valid" and "test" may be the
        same, since no figure of the verdict reads them."""

    @abstractmethod
    def sources(self) -> dict[str, str]:
        """Name -> SHA-256, hex, of the images."""

    def inputs(self) -> dict[str, str]:
        codec = self.codec.fingerprint()
        found = {**self.sources(), "judge": self.judge_digest()}
        return found if codec is None else {**found, "codec": codec}

    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Finite:
        images = self.images(split, data_dir)
        count = len(images.labels_N)
        if split == "train":
            assert self.section.items is not None
            count = min(count, self.section.items)
        x_NLC = torch.empty(count, self.space.length, self.space.channels)
        for start in range(0, count, ENCODED_AT_ONCE):  # in parts, so that a trial's memory does not peak here
            end = min(start + ENCODED_AT_ONCE, count)
            x_NLC[start:end] = self.codec.encode(as_images(images.images[start:end]))
        labels_N = torch.from_numpy(images.labels_N[:count]).long().to(device) if self.space.classes else None
        return Finite(Batch(x_NLC.to(device), labels_B=labels_N), self.protocol.training.batch)

    def prompts(self, count: int, label: int | None = None) -> Batch:
        if not self.space.classes:
            return Batch(size=count)
        labels_B = torch.arange(count) % self.space.classes if label is None else torch.full((count,), label)
        return Batch(labels_B=labels_B, size=count)

    def items(self, x: Tensor, prompts: Batch) -> Items:
        """uint8 images, (B, side, side) or (B, side, side, 3), with the requested classes."""
        images_BCHW = self.codec.decode(x).clamp(-1, 1)
        images_BCHW = ((images_BCHW + 1) * 127.5).round().to(torch.uint8).cpu()
        images = images_BCHW.squeeze(1) if self.section.channels == 1 else images_BCHW.permute(0, 2, 3, 1).contiguous()
        if prompts.labels_B is None:
            return Items({"images": images.numpy()})
        return Items({"images": images.numpy(), "labels": prompts.labels_B.to(torch.uint8).cpu().numpy()})

    def assess(self, items: Items, prompts: Batch) -> Quality:
        if "images" not in items:
            raise BakeoffError(f"items with {', '.join(items.arrays)[:80]}: {self.item}s are images.")
        images, side = items["images"], self.section.side
        if images.shape[1:] != ((side, side) if self.section.channels == 1 else (side, side, 3)):
            raise BakeoffError(
                f"images of shape {images.shape[1:]}: {self.item}s have {side} x {side} pixels of "
                f"{'one level' if self.section.channels == 1 else 'three colours'}."
            )
        return self.judged(as_images(images), prompts.labels_B)

    def judged(self, images_BCHW: Tensor, asked_B: Tensor | None) -> Quality:
        """The figures of images in [-1, 1], of which these classes were asked for."""
        return judges.assess_asked(self.looking(), self.real, images_BCHW, asked_B)

    def looking(self) -> judges.Judge:
        """The judge itself: the one that ships."""
        return judges.load_judge(self.judge)

    def judge_digest(self) -> str:
        """SHA-256 of its weights, hex."""
        return judges.fingerprint(judges.shipped(self.judge))

    @cached_property
    def real(self) -> judges.Reference:
        """The real images as the judge sees them: those that are trained on, and others that nothing is trained on."""
        judge = self.looking()

        def seen() -> dict[str, np.ndarray]:
            train, unseen = self.images("train").images[: self.section.items], self.images("test").images[1::2][:UNSEEN]
            sharp = np.array(judges.mean_sharpness(train))
            return {
                "train": judges.features(judge, train).numpy(),
                "unseen": judges.features(judge, unseen).numpy(),
                "sharpness": sharp,
            }

        digests = (one[:12] for one in (self.judge_digest(), *self.sources().values()))
        arrays = kept("-".join(["seen", *digests, str(self.section.items)]), seen)
        train_NF, unseen_RF = torch.from_numpy(arrays["train"]), torch.from_numpy(arrays["unseen"])
        return judges.reference_of(train_NF, unseen_RF, float(arrays["sharpness"]))

    def calibrate(self, device: torch.device) -> Calibration:
        return read_calibration(judges.measure(self.judged, self.pools(), judges.KINDS[self.judge]))

    def pools(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and classes to calibrate with: "real", which neither judge nor reference has seen, and what else is
        told apart."""
        return {"real": pool(self.images("test"))}

    @property
    def table(self) -> str:
        """The name of its calibration, where one ships."""
        return self.judge

    def calibration(self) -> Calibration | None:
        """The one that ships, or else that of this machine."""
        shipped = judges.shipped_calibration(self.table)
        return load_calibration(self.protocol) if shipped is None else read_calibration(shipped)


def pool(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Every second image and its class; tests and references use the others."""
    return as_images(images.images[::2]), torch.from_numpy(images.labels_N[::2]).long()
