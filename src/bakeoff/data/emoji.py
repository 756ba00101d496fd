"""`emoji`: 32x32 colour images of a glyph in some pose on a gradient of two colours, made to order.

Image i of a split is a function of (version, split, pose, glyphs, i): its random numbers are whole ones, and all else
is IEEE arithmetic without a library's transcendental functions, so that every machine makes the same bytes.

Shapes: N images of 32 x 32 pixels, G glyphs, R = 12 random numbers an image, S = 64 samples a side.
"""

import math
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from bakeoff.data.glyphs import SIDE as GLYPH_SIDE
from bakeoff.data.glyphs import Glyphs, fingerprint, load_glyphs
from bakeoff.data.images import ImageSet
from bakeoff.data.made import kept

VERSION = 1  # of what is drawn; a change makes another data set
SIDE = 32
SAMPLED = 2 * SIDE  # a pixel is the mean of 2 x 2 samples
RANDOM = 12
AT_ONCE = 8  # images; their samples stay in the cache
NOT_FLIPPED = ("flag", "symbol")  # turned round they are other ones
Pose = Literal["fixed", "small", "full"]
Split = Literal["train", "test", "unseen"]
COUNTS: dict[Split, int] = {"train": 50_000, "test": 10_000, "unseen": 2_000}
STREAMS: dict[Split, int] = {"train": 1, "test": 2, "unseen": 3}
ANGLES = 1024  # equal parts of the range of angles, so that sines come from a table


class Range(NamedTuple):
    """How far a pose goes: least scale of the frame, radians, share of the half frame, whether glyphs turn round."""

    scale: float
    turn: float
    shift: float
    flip: bool


POSES: dict[Pose, Range] = {
    "fixed": Range(1.0, 0.0, 0.0, False),
    "small": Range(0.9, 0.05, 0.05, False),
    "full": Range(0.78, 0.2, 0.16, True),
}


def load_emoji(split: Split, count: int, pose: Pose = "full", glyphs: int = 0) -> ImageSet:
    """`draw`, of which the machine keeps what it has made: 150 MB for 50 000 images."""
    name = f"emoji-{VERSION}-{fingerprint()[:12]}-{split}-{pose}-{glyphs}-{count}"
    arrays = kept(name, lambda: vars(draw(split, count, pose, glyphs)))
    return ImageSet(arrays["images"], arrays["labels_N"])


def draw(split: Split, count: int, pose: Pose = "full", glyphs: int = 0) -> ImageSet:
    """The first `count` images of a split, all classes equally likely.

    Args:
        split: "train" and "test" show the glyphs of training, "unseen" the others.
        glyphs: how many of each class, evenly taken from its glyphs of training; 0 takes all.
    """
    sheet = load_glyphs()
    rows = [_evenly(one, glyphs) for one in (sheet.unseen() if split == "unseen" else sheet.of_training())]
    bits_NR = np.random.PCG64([VERSION, STREAMS[split]]).random_raw(count * RANDOM).reshape(count, RANDOM)
    u_NR = ((bits_NR >> np.uint64(40)).astype(np.float32)) / np.float32(1 << 24)  # U[0, 1), exact
    labels_N = (u_NR[:, 0] * np.float32(len(rows))).astype(np.int64)
    sizes = np.array([len(one) for one in rows], np.float32)
    picked = [rows[label][int(u * sizes[label])] for label, u in zip(labels_N, u_NR[:, 1], strict=True)]
    turned_N = ~np.isin(labels_N, [sheet.classes.index(name) for name in NOT_FLIPPED])
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for first in range(0, count, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        images[part] = _rendered(sheet, np.array(picked[part], np.int64), u_NR[part], POSES[pose], turned_N[part])
    return ImageSet(images, labels_N.astype(np.uint8))


def _evenly(rows: np.ndarray, count: int) -> np.ndarray:
    return rows if not 0 < count < len(rows) else rows[np.arange(count) * len(rows) // count]


def _rendered(sheet: Glyphs, picked_N: np.ndarray, u_NR: np.ndarray, pose: Range, turned_N: np.ndarray) -> np.ndarray:
    samples_NSS4 = _sampled(sheet.rgba_GHWC, picked_N, *_affine(u_NR, pose, turned_N))
    count = len(picked_N)
    quarters = samples_NSS4.reshape(count, SIDE, 2, SIDE, 2, 4)
    rgba = (quarters[:, :, 0, :, 0] + quarters[:, :, 0, :, 1]) + (quarters[:, :, 1, :, 0] + quarters[:, :, 1, :, 1])
    rgba *= np.float32(0.25)
    image = rgba[..., :3] + (np.float32(255) - rgba[..., 3:]) * _ground(u_NR[:, 6:])
    return (image + np.float32(0.5)).astype(np.uint8)  # at most 255.5, cut to whole numbers


def _affine(u_NR: np.ndarray, pose: Range, turned_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From a place in the frame to one in the glyph, both in [-1, 1]: matrix (N, 2, 2) and shift (N, 2), float32."""
    scale_N = np.float32(pose.scale) + np.float32(1 - pose.scale) * u_NR[:, 2]
    cos_N, sin_N = _turned(u_NR[:, 3], -pose.turn, pose.turn)
    flip_N = np.where(pose.flip & turned_N & (u_NR[:, 4] < np.float32(0.5)), np.float32(-1), np.float32(1))
    cos_N, sin_N = cos_N / scale_N, sin_N / scale_N
    matrix = np.stack([np.stack([flip_N * cos_N, -flip_N * sin_N], 1), np.stack([sin_N, cos_N], 1)], 1)
    u_shift = u_NR[:, 5]  # both shifts from the halves of one number's 24 bits
    whole = (u_shift * np.float32(1 << 24)).astype(np.int64)
    halves = np.stack([whole >> 12, whole & 4095], 1).astype(np.float32) / np.float32(2048) - np.float32(1)
    return matrix, halves * np.float32(pose.shift)


def _sampled(rgba_GHWC: np.ndarray, picked_N: np.ndarray, matrix_N22: np.ndarray, shift_N2: np.ndarray) -> np.ndarray:
    """Glyphs at the sample points, bilinear, transparent outside; (N, S, S, 4) float32 in [0, 255]."""
    place_S = (np.arange(SAMPLED, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / SAMPLED) - np.float32(1)
    half = np.float32(GLYPH_SIDE / 2)

    def along(axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The pixel below each sample's place, counted with a border of one, and the way to the next one."""
        m = matrix_N22[:, axis, :, None, None]
        at = m[:, 0] * place_S[None, None, :] + m[:, 1] * place_S[None, :, None] + shift_N2[:, axis, None, None]
        at = np.clip(at * half + (half + np.float32(0.5)), np.float32(0), np.float32(GLYPH_SIDE + 0.999))
        below = at.astype(np.int32)
        return below, at - below.astype(np.float32)

    (x, to_x), (y, to_y) = along(0), along(1)
    side = GLYPH_SIDE + 2
    bordered = np.zeros((len(picked_N), side, side), np.uint32)
    bordered[:, 1:-1, 1:-1] = rgba_GHWC[picked_N].view(np.uint32)[..., 0]
    index = y * side + x + np.arange(len(picked_N), dtype=np.int32)[:, None, None] * (side * side)

    def taken(offset: int) -> np.ndarray:
        return bordered.reshape(-1).take(index + offset).view(np.uint8).reshape(*index.shape, 4).astype(np.float32)

    to_x, to_y = to_x[..., None], to_y[..., None]

    def between(first: np.ndarray, second: np.ndarray, way: np.ndarray) -> np.ndarray:
        second -= first
        second *= way
        first += second
        return first

    upper = between(taken(0), taken(1), to_x)
    return between(upper, between(taken(side), taken(side + 1), to_x), to_y)


def _ground(u_N6: np.ndarray) -> np.ndarray:
    """A gradient between two colours, each in [0.25, 1] and half way to its own grey; (N, 32, 32, 3) in [0, 1]."""
    colours_N23 = np.float32(0.25) + np.float32(0.75) * _colours(u_N6)
    grey_N21 = ((colours_N23[..., :1] + colours_N23[..., 1:2]) + colours_N23[..., 2:]) / np.float32(3)
    colours_N23 = np.float32(0.5) * (colours_N23 + grey_N21)
    cos_N, sin_N = _turned(u_N6[:, 4], 0.0, 2 * math.pi)
    place = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / SIDE) - np.float32(1)
    way = cos_N[:, None, None] * place[None, None, :] + sin_N[:, None, None] * place[None, :, None]
    way = (way * np.float32(0.5 / 1.42) + np.float32(0.5))[..., None]
    return colours_N23[:, None, None, 0] * (np.float32(1) - way) + colours_N23[:, None, None, 1] * way


def _colours(u_N6: np.ndarray) -> np.ndarray:
    """Six levels of 8 bits from two numbers' 24 bits each; (N, 2, 3) in [0, 1)."""
    whole_N2 = (u_N6[:, :2] * np.float32(1 << 24)).astype(np.int64)
    levels = [(whole_N2 >> shift) & 255 for shift in (16, 8, 0)]
    return np.stack(levels, -1).astype(np.float32) / np.float32(256)


def _turned(u_N: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of an angle in [low, high), float32."""
    step_N = (u_N * np.float32(ANGLES)).astype(np.int64)
    cos, sin = _circle(low, high)
    return cos[step_N], sin[step_N]


@cache
def _circle(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines in steps of 2^-16, in which all machines' libraries agree."""
    angles = [low + step * (high - low) / ANGLES for step in range(ANGLES)]
    rounded = [[round(function(angle) * 65536) for angle in angles] for function in (math.cos, math.sin)]
    cos, sin = np.array(rounded, np.float32) / np.float32(65536)
    return cos, sin
