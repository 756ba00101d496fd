"""The kind `images`: grey or colour pictures of any size, with labels and given pictures where there are any.

Shapes: B images of H x W pixels; grey (B, H, W) or colour (B, H, W, 3).
"""

import base64
import hashlib
from typing import Any

import numpy as np
from PIL import Image

from bakeoff.artefacts.arrays import pack_arrays, unpack_arrays
from bakeoff.artefacts.base import Items, Kind
from bakeoff.artefacts.sheets import PAPER, SCALE, grid, tiled
from bakeoff.errors import BakeoffError

MOST_SIDE = 2048
LARGEST_DRAWN = 256  # pixels a side; larger images are drawn smaller
LARGEST_SCALED = 64  # pixels a side; larger images are not drawn larger
PICTURES = ("images", "inputs")


class Images(Kind):
    """Arrays: `images` uint8; optional `labels` whole numbers (B,), and `inputs` uint8, pictures that were given."""

    name = "images"
    suffix = ".npz"

    def pack(self, items: Items) -> bytes:
        arrays = _checked(items).arrays
        # runs of format 1 hold images and labels, empty where there are none, in this order
        filled = {"images": arrays["images"], "labels": np.array([], np.uint8)} | dict(arrays)
        return pack_arrays({name: filled[name] for name in ("images", "labels", "inputs") if name in filled})

    def unpack(self, content: bytes, count: int | None) -> Items:
        return _checked(Items(unpack_arrays(content, count)))

    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        pictures = _shrunk(_pairs(items))
        return grid(pictures, columns, SCALE if max(pictures.shape[1:3]) <= LARGEST_SCALED else 1)

    def tiles(self, items: Items, columns: int) -> Image.Image:
        return tiled(_shrunk(_pairs(items)), columns)

    def cell(self, items: Items, i: int) -> dict[str, Any]:
        given = {"input": _pixels(items["inputs"][i])} if "inputs" in items else {}
        return {"kind": self.name, **_pixels(items["images"][i]), **given}

    def digest(self, items: Items, first: int, size: int) -> str:
        """Of the bytes, row by row, one image after the other; given pictures follow."""
        shown = items.take(first, size)
        return hashlib.sha256(b"".join(shown[name].tobytes() for name in PICTURES if name in shown)).hexdigest()


def _checked(items: Items) -> Items:
    """Raises BakeoffError for arrays that are not of this kind."""
    unknown = [name for name in items.arrays if name not in (*PICTURES, "labels")]
    if "images" not in items or unknown:
        raise BakeoffError(f"arrays named {', '.join(items.arrays)[:80]}; expected images, and labels or inputs.")
    for name, array in items.arrays.items():
        said = f"{name} are {array.dtype} of shape {array.shape}"
        if name == "labels":
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise BakeoffError(f"{said}; expected one whole number an item.")
        elif array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
            raise BakeoffError(f"{said}; expected uint8 of shape (items, height, width) or (items, height, width, 3).")
        elif not all(1 <= side <= MOST_SIDE for side in array.shape[1:3]):
            raise BakeoffError(f"{said}; allowed: 1 to {MOST_SIDE} pixels a side.")
        elif array.ndim != items["images"].ndim:
            raise BakeoffError(f"{said}; expected grey or colour as the images are.")
    return items


def _pairs(items: Items) -> np.ndarray:
    """Images, each with the given one to its left."""
    if "inputs" not in items:
        return items["images"]
    blank = PAPER if items["images"].ndim == 4 else 0  # grey is drawn inverted
    pairs = [items["inputs"], items["images"]]
    height = max(one.shape[1] for one in pairs)
    padded = [
        np.pad(one, [(0, 0), (0, height - one.shape[1]), *[(0, 0)] * (one.ndim - 2)], constant_values=blank)
        for one in pairs
    ]
    return np.concatenate(padded, axis=2)


def _shrunk(images: np.ndarray) -> np.ndarray:
    """So that a picture of many stays within bounds."""
    height, width = images.shape[1:3]
    if max(height, width) <= LARGEST_DRAWN:
        return images
    ratio = LARGEST_DRAWN / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in images])


def _pixels(image: np.ndarray) -> dict[str, Any]:
    height, width, *colour = image.shape
    data = base64.b64encode(image.tobytes()).decode()
    return {"width": width, "height": height, "channels": 3 if colour else 1, "data": data}
