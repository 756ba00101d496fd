"""The losses of a trial, read from its log of steps while it is written or long after."""

import json
from pathlib import Path

from bakeoff.errors import BakeoffError

LARGEST = 256 << 20


def read_losses(path: Path) -> list[float]:
    """Of every step, up to the first line that is not whole; empty if nothing was logged yet. May hold nan and inf.

    Raises:
        BakeoffError: too large to be such a log, or not readable.
    """
    losses: list[float] = []
    try:
        if not path.is_file():
            return losses
        if path.stat().st_size > LARGEST:
            raise BakeoffError(f"{path}: larger than {LARGEST} bytes.")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BakeoffError(f"{path}: {error.strerror or 'cannot be read'}.") from error
    for line in lines:
        try:
            losses += [float(loss) for loss in json.loads(line)["losses"]]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            break
    return losses
