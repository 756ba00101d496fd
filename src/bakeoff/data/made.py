"""Arrays that are made once on a machine, and kept in the user's cache folder: $BAKEOFF_HOME, or ~/.cache/bakeoff."""

import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

Arrays = Mapping[str, np.ndarray]


def home() -> Path:
    """The user's cache folder of bakeoff; all in it can be made again."""
    return Path(os.environ.get("BAKEOFF_HOME", Path.home() / ".cache" / "bakeoff"))


def kept(name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of this name: those that are kept, or newly made ones, which are kept if the folder can be written.

    Args:
        name: of all that decides what is made; a file of this name that is damaged is made again.
    """
    path = home() / "made" / f"{name}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(path) as archive:
        return {key: archive[key] for key in archive.files}  # reads all, and so compares every checksum
    arrays = make()
    with suppress(OSError):  # as on a full disk: then the next one makes them, too
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        try:
            np.savez(temporary, **dict(arrays))  # pyright: ignore[reportArgumentType]
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return arrays
