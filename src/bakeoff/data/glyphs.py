"""The sheet of emoji glyphs that ships: Google's Noto Emoji, 40x40, colours multiplied by opacity.

`scripts/build_glyphs.py` made it; NOTICE has source and licence.

Shapes: G glyphs, ordered by class.
"""

import hashlib
import json
import lzma
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 40
CHANNELS = 4
UNSEEN_EVERY = 8  # of the glyphs of a class, every eighth is kept from training
SHEET = Path(__file__).parent / "emoji" / "glyphs.xz"
LIST = Path(__file__).parent / "emoji" / "glyphs.json"


class Glyphs(NamedTuple):
    """All glyphs: classes by name, rgba_GHWC uint8, and for each class the rows of its glyphs."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    rgba_GHWC: np.ndarray
    rows: tuple[np.ndarray, ...]

    def of_training(self) -> list[np.ndarray]:
        """For each class, the rows of the glyphs that are trained on."""
        return [rows[np.arange(len(rows)) % UNSEEN_EVERY != UNSEEN_EVERY - 1] for rows in self.rows]

    def unseen(self) -> list[np.ndarray]:
        """For each class, the rows of the glyphs that no training image shows."""
        return [rows[UNSEEN_EVERY - 1 :: UNSEEN_EVERY] for rows in self.rows]


@cache
def names() -> dict[str, list[str]]:
    """The names of all glyphs by class, in the order of labels."""
    return json.loads(LIST.read_text(encoding="utf-8"))


@cache
def load_glyphs() -> Glyphs:
    """The shipped sheet; the arrays are not to be written to."""
    named = names()
    counts = [len(group) for group in named.values()]
    ends = np.cumsum(counts)
    content = lzma.decompress(SHEET.read_bytes())
    rgba_GHWC = np.frombuffer(content, np.uint8).reshape(ends[-1], SIDE, SIDE, CHANNELS)
    rows = tuple(np.arange(end - count, end) for end, count in zip(ends, counts, strict=True))
    return Glyphs(tuple(named), tuple(name for group in named.values() for name in group), rgba_GHWC, rows)


def fingerprint() -> str:
    """SHA-256 of sheet and list, hex."""
    return hashlib.sha256(SHEET.read_bytes() + LIST.read_bytes()).hexdigest()
