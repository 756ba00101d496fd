"""Data sets that may not be shipped: read once from the user's files, and kept on the machine as plain arrays."""

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from bakeoff.data.cifar import read_cifar10
from bakeoff.data.fashion import read_fashion
from bakeoff.data.images import ImageSet
from bakeoff.data.made import DAMAGED, home
from bakeoff.errors import BakeoffError

READERS: dict[str, Callable[[Path], dict[str, ImageSet]]] = {"cifar10": read_cifar10, "fashion": read_fashion}


def place(name: str) -> Path:
    """Where this machine keeps a data set."""
    return home() / "data" / f"{name}.npz"


def take(name: str, given: Path) -> str:
    """Reads a data set from the user's folder or archive and keeps it; its digest.

    Raises:
        BakeoffError: its files are not what they should be, or other ones are kept already.
        OSError: it cannot be written.
    """
    read = READERS[name](given)
    digest = _digest(read)
    path = place(name)
    if path.is_file():
        if kept_digest(name) != digest:
            raise BakeoffError(
                f"{given}: another data set than {path}, which runs on this machine rest on; remove that file first if "
                "it shall be replaced."
            )
        return digest
    arrays = {f"{split}_{key}": value for split, one in read.items() for key, value in vars(one).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{name}.{os.getpid()}.npz")
    try:
        np.savez(temporary, digest=np.frombuffer(bytes.fromhex(digest), np.uint8), **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, split: str) -> ImageSet:
    with np.load(path) as archive:
        return ImageSet(archive[f"{split}_images"], archive[f"{split}_labels_N"])


def load(name: str, split: str) -> ImageSet:
    """A split of a data set that the machine keeps.

    Raises:
        BakeoffError: it is not kept here yet, or damaged.
    """
    path = place(name)
    if why := missing(name):
        raise BakeoffError(f"{name}: {why}.")
    try:
        return _loaded(path, path.stat().st_mtime_ns, split)
    except DAMAGED as error:
        raise BakeoffError(f"{path}: damaged ({error}); remove it, and give the images again.") from error


def missing(name: str) -> str:
    """Why a data set is not kept here; empty if it is."""
    if place(name).is_file():
        return ""
    return f"its images are not on this machine yet, and may not be shipped; give them once: bakeoff data {name} FOLDER"


def kept_digest(name: str) -> str:
    """SHA-256 of what the machine keeps: labels and pixels of both splits; read again, so that a change shows."""
    return _digest({split: load(name, split) for split in ("train", "test")})


def _digest(splits: dict[str, ImageSet]) -> str:
    found = hashlib.sha256()
    for split in ("train", "test"):
        found.update(splits[split].labels_N.tobytes())
        found.update(splits[split].images.tobytes())
    return found.hexdigest()
