"""Room on the disk: checks that what a run will write fits, before the run and before every checkpoint."""

import errno
import os
import shutil
from pathlib import Path

RESERVE = 16 << 20  # bytes kept free, for the small files and for other programs
FLOAT_BYTES = 4


def require_room(path: Path, size: int) -> None:
    """Checks, during a run, that a file of this size fits and leaves the reserve free.

    Raises:
        OSError: ENOSPC, before anything is written.
    """
    free = free_bytes(path.parent)
    if free is not None and free < size + RESERVE:
        raise full(path, size)


def full(path: Path, size: int) -> OSError:
    """ENOSPC for a file of this size, with free and needed room; the same for a failed check or a failed write."""
    room = f"{mib(free_bytes(path.parent) or 0)} free, {mib(size + RESERVE)} needed"
    return OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {room}", str(path))


def free_bytes(path: Path) -> int | None:
    """Free bytes of the disk that holds the path, or would hold it; None if the system does not tell."""
    path = path.absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
