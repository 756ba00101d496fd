"""The judged images of a trial, written and read."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.protocol.schema import Protocol

SIDE = 28
HEADER_ROOM = 1 << 10
IMAGE_BYTES = SIDE * SIDE


def pack_samples(items: Items) -> bytes:
    packed = io.BytesIO()
    labels = items.arrays.get("labels", np.array([], np.uint8))
    np.savez_compressed(packed, images=items.arrays["images"], labels=labels)
    return packed.getvalue()


def pack_path(states: Sequence[Items]) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, images=np.stack([state.arrays["images"] for state in states]))
    return packed.getvalue()


def read_samples(path: Path, protocol: Protocol) -> np.ndarray:
    """uint8 images (B, 28, 28) as the protocol asks for them; nothing larger is unpacked and nothing in it is run.

    Raises:
        BakeoffError: missing, damaged, or of another size.
    """
    expected = (protocol.samples_drawn, SIDE, SIDE)
    try:
        with zipfile.ZipFile(path) as archive:
            packed = archive.getinfo("images.npy")
            if packed.file_size > np.prod(expected) + HEADER_ROOM:
                raise ValueError(f"{packed.file_size} bytes of images; expected {expected} of one byte")
            content = io.BytesIO(archive.read(packed))
        npy.read_magic(content)
        shape, _, dtype = npy.read_array_header_1_0(content)
        if shape != expected or dtype != np.uint8:
            raise ValueError(f"images are {dtype} of shape {shape}; expected uint8 of shape {expected}")
        content.seek(0)
        return npy.read_array(content, allow_pickle=False)
    except FileNotFoundError:
        raise BakeoffError(f"{path}: missing.") from None
    except Exception as error:  # a damaged or hostile archive may raise anything here
        reason = str(error).strip()[:160] or type(error).__name__
        raise BakeoffError(f"{path}: not the samples of this trial ({reason}).") from error


def read_path(path: Path) -> np.ndarray:
    """uint8 images (S, B, 28, 28) of S states. Raises BakeoffError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["images"]
    except Exception as error:  # a damaged or hostile archive may raise anything here
        raise BakeoffError(f"{path}: not the path of this trial ({error}).") from error
