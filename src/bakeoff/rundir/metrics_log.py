"""Reads the losses of a trial from its log of steps, during the trial or later."""

import json
from pathlib import Path

from bakeoff.errors import BakeoffError

LARGEST = 256 << 20


def read_losses(path: Path) -> list[float]:
    """The loss of every step, up to the first incomplete line; empty if nothing is logged yet. May hold nan and inf.

    Raises:
        BakeoffError: the file is too large to be such a log, or cannot be read.
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
