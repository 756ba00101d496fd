"""Reads CIFAR-10 [Krizhevsky 2009] from the user's folder or archive: the binary version, or the Python one.

Binary: records of one label byte and 3 072 pixel bytes, 1 024 red ones, then green, then blue, row by row; 10 000
records a file. The Python version is pickled, and unpickling runs code: a file is unpickled only if its MD5 is the
published one, and then by a reader that knows numpy's arrays and nothing else.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bakeoff.data.images import ImageSet
from bakeoff.errors import BakeoffError

SIDE, CLASSES, RECORDS = 32, 10, 10_000
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = 3 * SIDE * SIDE
BINARY_BYTES = RECORDS * (1 + PIXELS)
LARGEST = 288 << 20  # bytes that are read at most; an archive has 186 million when unpacked
MEMBERS = 64  # of an archive that are looked at; the true ones have nine
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = ("test_batch",)
MD5 = {  # of the files of cifar-10-batches-py, as published and as torchvision checks them
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
FOLDERS = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}
ARCHIVES = {"cifar-10-binary.tar.gz": "cifar-10-batches-bin", "cifar-10-python.tar.gz": "cifar-10-batches-py"}
Opened = Callable[[str], bytes]


def read_cifar10(given: Path) -> dict[str, ImageSet]:
    """The splits "train" (50 000 images) and "test" (10 000), in the order of the files.

    Args:
        given: cifar-10-batches-bin or cifar-10-batches-py, the folder that holds one, or one of the two .tar.gz.

    Raises:
        BakeoffError: a file is missing, truncated, too long, or not CIFAR-10.
    """
    opened, suffix, place = _located(given)
    found = {}
    for split, names in (("train", TRAIN), ("test", TEST)):
        read = [_read(opened, name + suffix, place) for name in names]
        images, labels_N = (np.concatenate(parts) for parts in zip(*read, strict=True))
        counts = np.bincount(labels_N, minlength=CLASSES)
        if len({*counts}) > 1:
            raise BakeoffError(
                f"{place}: {split} images by class {counts.tolist()}; CIFAR-10 has as many of each. A file may lie "
                "here twice, under two names."
            )
        found[split] = ImageSet(images, labels_N)
    return found


def _located(given: Path) -> tuple[Opened, str, str]:
    """What opens a file by its name, the suffix of names, and the place for messages."""
    if given.is_file():
        inside = ARCHIVES.get(given.name)
        if inside is None:
            raise BakeoffError(f"{given}: not one of CIFAR-10's archives; allowed: {', '.join(ARCHIVES)}.")
        files = unpacked(given)
        return lambda name: _of_archive(files, f"{inside}/{name}", given), FOLDERS[inside], str(given)
    if not given.is_dir():
        raise BakeoffError(f"{given}: no such folder or archive; give the one that holds CIFAR-10.")
    for name, suffix in FOLDERS.items():
        for folder in (given / name, given):
            if (folder / (TRAIN[0] + suffix)).is_file():
                return lambda file, folder=folder: _file(folder / file), suffix, str(folder)
    for name in ARCHIVES:
        if (given / name).is_file():
            return _located(given / name)
    present = ", ".join(sorted(path.name for path in given.iterdir())[:8]) or "nothing"
    wanted = ", ".join([*FOLDERS, *ARCHIVES])
    raise BakeoffError(f"{given}: no CIFAR-10 here; wanted: {wanted}; it holds {present}.")


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _of_archive(files: Mapping[str, bytes], name: str, archive: Path) -> bytes:
    if name not in files:
        raise BakeoffError(f"{archive}: holds no {name}.")
    return files[name]


def unpacked(archive: Path) -> dict[str, bytes]:
    """The files of an archive by name, in memory; nothing is unpacked to the disk.

    All of it is read first, so that the checksum at its end counts and no header can ask for more than that.
    """
    try:
        with gzip.open(archive) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes when unpacked; the true ones have two thirds of that")
        with tarfile.open(fileobj=io.BytesIO(content)) as opened:
            files = [member for member in islice(opened, MEMBERS) if member.isfile() and not member.issparse()]
            return {member.name.removeprefix("./"): _content(opened, member) for member in files}
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise BakeoffError(f"{archive}: corrupted or truncated ({error}). Fetch the archive again.") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # of a regular file
    return file.read()


def _read(opened: Opened, name: str, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,), uint8, of one file."""
    content = opened(name)
    pixels_NV, labels_N = _binary(content, f"{place}/{name}") if name in _BINARY else _python(content, name, place)
    if labels_N.max() >= CLASSES:
        raise BakeoffError(f"{place}/{name}: label {labels_N.max()}; CIFAR-10 has 0 to {CLASSES - 1}.")
    images = pixels_NV.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels_N.astype(np.uint8)


_BINARY = {f"{name}.bin" for name in (*TRAIN, *TEST)}


def _binary(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if len(content) != BINARY_BYTES:
        raise BakeoffError(
            f"{where}: {len(content):,} bytes; expected {BINARY_BYTES:,}: {RECORDS:,} records of a label and "
            f"{PIXELS:,} pixel values."
        )
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return records[:, 1:], records[:, 0]


def _python(content: bytes, name: str, place: str) -> tuple[np.ndarray, np.ndarray]:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5[name]:
        raise BakeoffError(
            f"{place}/{name}: MD5 {digest}, published is {MD5[name]}: not the file of CIFAR-10, and not unpickled, "
            "which would run code in it. Fetch it again, or take the binary version (cifar-10-binary.tar.gz)."
        )
    return unpickled(content, f"{place}/{name}")


def unpickled(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3072) and labels (N,) of a pickled batch, by a reader that knows numpy's arrays alone.

    Raises:
        BakeoffError: it names anything else, or holds no such arrays.
    """
    try:
        batch = _Arrays(io.BytesIO(content), encoding="latin1").load()
        pixels_NV, labels_N = np.asarray(batch["data"]), np.asarray(batch["labels"])
        if pixels_NV.dtype != np.uint8 or pixels_NV.shape != (len(labels_N), PIXELS) or labels_N.ndim != 1:
            raise ValueError(f"data {pixels_NV.dtype} of shape {pixels_NV.shape}, {labels_N.shape} labels")
        if not len(labels_N) or labels_N.dtype.kind not in "iu" or labels_N.min() < 0:
            raise ValueError(f"labels {labels_N.dtype}")
        return pixels_NV, labels_N
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise BakeoffError(f"{where}: not a batch of CIFAR-10 ({str(error)[:120] or type(error).__name__}).") from error


class _Arrays(pickle.Unpickler):
    """Builds numpy arrays, and nothing else."""

    KNOWN: ClassVar = {
        (module, name)
        for name in ("_reconstruct", "ndarray", "dtype")
        for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"names {module[:40]}.{name[:40]}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
