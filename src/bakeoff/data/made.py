"""Arrays that are made once on a machine, and kept in the user's cache folder: $BAKEOFF_HOME, or ~/.cache/bakeoff."""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from bakeoff.errors import BakeoffError

Arrays = Mapping[str, np.ndarray]
NAMES = "names"  # of the arrays, among them: a damaged archive may have lost one of its entries
# what numpy raises where the archive of arrays is damaged, whichever byte it is
DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,  # NotImplementedError among them
    zipfile.BadZipFile,
    zlib.error,
)


def home() -> Path:
    """The user's cache folder of bakeoff; all in it can be made again.

    Raises:
        BakeoffError: the system knows no home of this user.
    """
    if chosen := os.environ.get("BAKEOFF_HOME"):
        return Path(chosen)
    try:
        return Path.home() / ".cache" / "bakeoff"
    except RuntimeError as error:
        raise BakeoffError("this user has no home folder; name one to keep data in: BAKEOFF_HOME=FOLDER.") from error


def kept(name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of this name: those that are kept, or newly made ones, which are kept if the folder can be written.

    Args:
        name: of all that decides what is made; a file of this name that is damaged is made again.
    """
    path = home() / "made" / f"{name}.npz"
    with suppress(*DAMAGED), np.load(path) as archive:
        return {key: archive[key] for key in archive[NAMES].tolist()}  # reads all, and so compares every checksum
    arrays = make()
    with suppress(OSError):  # as on a full disk: then the next one makes them, too
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        try:
            np.savez(temporary, **{NAMES: np.array(list(arrays))}, **arrays)  # pyright: ignore[reportArgumentType]
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return arrays
