"""Items of every built-in kind, for the tests of kinds and of hostile files."""

import numpy as np

from bakeoff.artefacts.answers import Answers
from bakeoff.artefacts.base import Items, Kind
from bakeoff.artefacts.images import MOST_SIDE, Images
from bakeoff.artefacts.text import Text


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


GREY = Items({"images": pixels(5, 28, 28), "labels": np.arange(5, dtype=np.uint8)})
COLOUR = Items({"images": pixels(4, 32, 20, 3), "inputs": pixels(4, 16, 24, 3, seed=1)})
PLAIN = Items({"text": np.array(["one", "tw\no", "", "vier ä\t漢"])})
SUMS = Items(
    {
        "text": np.array(["4", "5", "7 " * 300]),
        "input": np.array(["2 + 2 =", "1 + 3 =", "x" * 500]),
        "truth": np.array(["4", "4", "7"]),
        "right": np.array([True, False, False]),
    }
)
ASKED = Items(
    {
        "tokens": np.array([[3, 9, 0, 3, 5], [4, 8, 4, 1, -1]], np.int32),
        "marks": np.array([[1, 2, 0, 3, 0], [1, 2, 3, 0, 3]], np.uint8),
        "answers": np.array([[-1, -1, -1, 9, -1], [-1, -1, 7, -1, -1]], np.int32),
        "truth": np.array([[-1, -1, -1, 9, -1], [-1, -1, 8, -1, 2]], np.int32),
    }
)
CASES: dict[str, tuple[Kind, Items]] = {
    "grey": (Images(), GREY),
    "grey, without labels": (Images(), Items({"images": pixels(3, 7, 9)})),
    "colour beside what was given": (Images(), COLOUR),
    "one pixel": (Images(), Items({"images": pixels(2, 1, 1)})),
    "large": (Images(), Items({"images": pixels(2, MOST_SIDE, 300, 3)})),
    "text": (Text(), PLAIN),
    "answers": (Text(), SUMS),
    "sequences": (Answers(), ASKED),
    "a long sequence": (Answers(), Items({name: np.repeat(ASKED[name], 200, 1) for name in ASKED.arrays})),
}


def same(one: Items, other: Items) -> bool:
    return one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(one[name], other[name]) for name in one.arrays
    )
