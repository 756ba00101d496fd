"""Reads IDX, the file format of MNIST: magic (two zero bytes, element type, rank), big-endian sizes, then the data.

Source: http://yann.lecun.com/exdb/mnist/ ("the IDX file format").
"""

import gzip
import hashlib
import lzma
import struct
import zlib
from pathlib import Path

import numpy as np

from bakeoff.errors import BakeoffError

LARGEST = 1 << 28
UNSIGNED_BYTE = 0x08
_OPENERS = {".gz": gzip.open, ".xz": lzma.open}


def read_idx(path: Path, shape: tuple[int, ...], sha256: str) -> np.ndarray:
    """Reads one IDX file of unsigned bytes: raw, gzip (.gz) or xz (.xz).

    Args:
        path: the file; its suffix tells the compression.
        shape: the sizes it must have, for example (60000, 28, 28).
        sha256: hex digest that its decompressed bytes must have.

    Returns:
        uint8 array of the given shape, owned by the caller.

    Raises:
        BakeoffError: the file is unreadable, corrupted or truncated, or has another magic, size or content.
    """
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTE, len(shape), *shape)
    expected_bytes = len(header) + int(np.prod(shape))
    content = _decompressed(path, limit=expected_bytes + 1)
    if content[:4] != header[:4]:
        raise BakeoffError(
            f"{path}: wrong magic number 0x{content[:4].hex() or '(empty file)'}; "
            f"expected 0x{header[:4].hex()} (IDX, unsigned bytes, rank {len(shape)})."
        )
    if len(content) < len(header):
        raise BakeoffError(f"{path}: truncated inside the header; expected {expected_bytes} bytes.")
    found = struct.unpack(f">{len(shape)}I", content[4 : len(header)])
    if found != shape:
        raise BakeoffError(f"{path}: holds an array of size {found}; expected {shape}.")
    if len(content) < expected_bytes:
        raise BakeoffError(
            f"{path}: truncated: {len(content)} bytes after decompression; expected {expected_bytes} bytes."
        )
    if len(content) > expected_bytes:
        raise BakeoffError(f"{path}: longer than its header says; expected {expected_bytes} bytes.")
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise BakeoffError(
            f"{path}: corrupted or another data set: SHA-256 of its content is {digest}; expected {sha256}."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()


def content_digest(path: Path) -> str:
    """SHA-256 of the decompressed content, hex; or "unreadable"."""
    try:
        return hashlib.sha256(_decompressed(path, LARGEST)).hexdigest()
    except BakeoffError:
        return "unreadable"


def _decompressed(path: Path, limit: int) -> bytes:
    """Decompresses at most `limit` bytes, so that a small hostile archive cannot fill the memory."""
    opener = _OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            return file.read(limit)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise BakeoffError(
            f"{path}: corrupted or truncated {path.suffix} archive ({error}); expected IDX data of "
            f"{limit - 1} bytes inside. Fetch the file again."
        ) from error
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be read ({error.strerror or error}).") from error
