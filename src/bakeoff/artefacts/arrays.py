"""Files of number arrays: npz archives, and the reader that looks at headers and sizes before it unpacks."""

import io
import math
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy

from bakeoff.errors import BakeoffError

MOST_ARRAYS = 16
LARGEST_UNPACKED = 512 << 20  # bytes, all arrays together
NUMBERS = "biuf"  # dtype kinds: bool, integers, floats


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed npz archive; the same arrays in the same order give the same bytes."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # pyright: ignore[reportArgumentType]
    return packed.getvalue()


def unpack_arrays(content: bytes, count: int | None) -> dict[str, np.ndarray]:
    """The arrays of an archive, those of length 0 left out: that is how an optional one is said to be missing.

    Args:
        count: how many rows each must have; None for any number, the same for all.

    Raises:
        BakeoffError: damaged, of other rows, larger than 512 MiB, or holding anything but numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ARRAYS or len({entry.filename for entry in entries}) < len(entries):
                raise ValueError(f"{len(entries)} arrays; allowed: {MOST_ARRAYS}, each once")
            if (size := sum(entry.file_size for entry in entries)) > LARGEST_UNPACKED:
                raise ValueError(f"would unpack to {size} bytes; allowed: {LARGEST_UNPACKED}")
            rows = {_rows(archive, entry, count) for entry in entries} - {0}
            if len(rows) != 1:
                raise ValueError(f"arrays of {sorted(rows)} rows; expected the same in all")
            arrays = {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}
        return {name: array for name, array in arrays.items() if len(array)}
    except Exception as error:  # a damaged or hostile archive may raise anything here
        reason = str(error).strip()[:200] or type(error).__name__
        raise BakeoffError(f"not an archive of arrays: {reason}.") from error


def _rows(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, count: int | None) -> int:
    """How many rows an entry has; only its header is unpacked."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or not entry.filename.endswith(".npy"):
        raise ValueError(f"{entry.filename[:40]!r}: not an array as numpy writes it")
    with archive.open(entry) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{entry.filename[:40]!r}: of another version of numpy's format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        said = f"{entry.filename[:40]!r}: {dtype} of shape {shape}, {entry.file_size} bytes"
        if dtype.kind not in NUMBERS:
            raise ValueError(f"{said}; expected numbers")
        if not shape or (count is not None and shape[0] not in (0, count)):
            raise ValueError(f"{said}; expected {'rows' if count is None else f'{count} items'}")
        if entry.file_size != file.tell() + dtype.itemsize * math.prod(shape):
            raise ValueError(f"{said}, which do not fit together")
    return shape[0]


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    return np.ascontiguousarray(npy.read_array(io.BytesIO(archive.read(entry)), allow_pickle=False))
