"""The task of emoji: 32x32 colour images, made to order from the glyphs that ship."""

import hashlib
from pathlib import Path

from torch import Tensor

from bakeoff.data import ImageSet, glyphs
from bakeoff.data.emoji import COUNTS, load_emoji
from bakeoff.protocol.figures import IMAGES
from bakeoff.protocol.sections import tasks as sections
from bakeoff.tasks.base import Split
from bakeoff.tasks.images import Images, pool


class Emoji(Images):
    """Emoji under one protocol. No model trains on the test images, which show the same glyphs in other poses."""

    item = "emoji"
    figures = tuple(IMAGES.values())
    question = "whether its pictures are clean, whether it is noise"
    judge = "emoji"
    names = tuple(glyphs.names())
    section: sections.Emoji

    def images(self, split: Split, data_dir: Path | None = None) -> ImageSet:
        pose, glyphs = self.section.pose, self.section.glyphs
        if split == "train":
            return load_emoji("train", self.section.train_images, pose, glyphs)
        return load_emoji("test", COUNTS["test"], pose, glyphs)

    def sources(self) -> dict[str, str]:
        """Of the images as they are drawn."""
        images = self.images("train")
        return {"emoji": hashlib.sha256(images.labels_N.tobytes() + images.images.tobytes()).hexdigest()}

    def pools(self) -> dict[str, tuple[Tensor, Tensor]]:
        """With glyphs that no training image shows."""
        unseen = load_emoji("unseen", COUNTS["unseen"], self.section.pose, self.section.glyphs)
        return {**super().pools(), "unseen glyphs": pool(unseen)}

    @property
    def table(self) -> str:
        section = self.section
        return f"emoji-{section.pose}-{section.glyphs}-{section.train_images}"
