"""Checks of files from strangers: links, sizes and headers, before anything is read."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from bakeoff.errors import BakeoffError

LARGEST_HEADER = 16 << 20  # of a safetensors file; names and shapes of some hundred thousand tensors
LARGEST_PICKLE = 64 << 20  # of a torch file without its tensors
MOST_ENTRIES = 100_000


def refuse_links(run: Path) -> None:
    """Refuses all but plain files and folders in a run directory, so that no read or write leads elsewhere.

    Raises:
        BakeoffError: there is a link, pipe or device.
    """
    for path in _entries(run):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise BakeoffError(f"{path}: is a link; a run directory holds files and folders of its own. Remove it.")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise BakeoffError(f"{path}: is neither a file nor a folder; remove it.")


def _entries(run: Path) -> Iterator[Path]:
    yield from run.iterdir()
    if (trials := run / "trials").is_dir() and not trials.is_symlink():
        for trial in trials.iterdir():
            yield trial
            if trial.is_dir() and not trial.is_symlink():
                yield from trial.iterdir()


def check_safetensors_header(path: Path) -> None:
    """Checks the declared length of the header, before the header is read.

    Raises:
        ValueError: the header is longer than the file, or than any model needs.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    if len(start) < 8:
        raise ValueError("shorter than the length of its header")
    (length,) = struct.unpack("<Q", start)
    most = min(LARGEST_HEADER, path.stat().st_size - 8)
    if length > most:
        raise ValueError(f"declares a header of {length} bytes; allowed here: {most}")


def check_torch_archive(path: Path) -> None:
    """Checks what torch does not: that no member is compressed, and that every byte is as it was written.

    Raises:
        ValueError: the file is not an archive as torch writes it since 1.6, or it is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip archive, as torch writes since 1.6")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"{len(entries)} entries; allowed: {MOST_ENTRIES}")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed; torch writes them as they are")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its entries declare more bytes than the file has")
        if any(entry.filename.endswith(".pkl") and entry.file_size > LARGEST_PICKLE for entry in entries):
            raise ValueError(f"its description is larger than {LARGEST_PICKLE} bytes")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"damaged: the checksum of {damaged[:80]!r} is wrong")
