"""MNIST: 60 000 training and 10 000 test digits, shipped with the package or read from the user's copy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from bakeoff.data.idx import content_digest, read_idx
from bakeoff.data.images import ImageSet
from bakeoff.errors import BakeoffError

Split = Literal["train", "test"]
SIDE = 28
COUNTS: dict[Split, int] = {"train": 60_000, "test": 10_000}
SHIPPED = Path(__file__).parent / "mnist"

_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_SHA256 = {  # of the decompressed IDX files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_mnist(split: Split, data_dir: Path | None = None) -> ImageSet:
    """Loads one split and checks every byte of it against the published digests.

    Args:
        split: "train" or "test".
        data_dir: folder with the user's copy of the IDX files, raw, .gz or .xz; None reads the shipped one.

    Raises:
        BakeoffError: a file is missing, unreadable, truncated or not MNIST.
    """
    return load_idx(split, SHIPPED if data_dir is None else data_dir, _SHA256, "MNIST")


def load_idx(split: Split, folder: Path, sha256: Mapping[str, str], what: str) -> ImageSet:
    """A split of a set in MNIST's format: 28x28, 60 000 and 10 000 images, in four files of these digests."""
    if not folder.is_dir():
        raise BakeoffError(f"{folder}: no such folder; give the folder that holds {what}'s IDX files.")
    prefix, count = _PREFIX[split], COUNTS[split]
    images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    return ImageSet(
        read_idx(_find(folder, images), (count, SIDE, SIDE), sha256[images]),
        read_idx(_find(folder, labels), (count,), sha256[labels]),
    )


def fingerprint() -> dict[str, str]:
    """SHA-256 of every shipped file, decompressed; a sealed plan calls this "the data". The files are read again, so
    that a change shows; an unreadable file has "unreadable" in place of its digest."""
    return {name: content_digest(_find(SHIPPED, name)) for name in _SHA256}


def _find(folder: Path, name: str) -> Path:
    stems = (name, name.replace("-idx", ".idx"))
    candidates = [folder / f"{stem}{suffix}" for stem in stems for suffix in ("", ".gz", ".xz")]
    for path in candidates:
        if path.is_file():
            return path
    present = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    raise BakeoffError(
        f"{folder}: no {name} (raw, .gz or .xz, also spelled {stems[1]}) in this folder; it holds {present}."
    )
