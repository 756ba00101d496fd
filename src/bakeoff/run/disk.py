"""Room on the disk: what a run will write, and whether it fits; asked before the run and before every checkpoint."""

import errno
import os
import shutil
from pathlib import Path

RESERVE = 16 << 20  # for the small files, and so that a run does not take the last byte from others
FLOAT_BYTES = 4


def require_room(path: Path, size: int) -> None:
    """While running: a file of this size must fit and leave the reserve.

    Raises:
        OSError: ENOSPC, before anything is written.
    """
    free = free_bytes(path.parent)
    if free is not None and free < size + RESERVE:
        raise full(path, size)


def full(path: Path, size: int) -> OSError:
    """ENOSPC for a file of this size, alike whether a check met it or a write, with what is free and what is needed."""
    room = f"{mib(free_bytes(path.parent) or 0)} free, {mib(size + RESERVE)} needed"
    return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {room}", str(path))


def free_bytes(path: Path) -> int | None:
    """Of the disk that holds the path, or would hold it; None where the system does not know."""
    path = path.absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
