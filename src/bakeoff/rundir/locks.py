"""An advisory lock on a file of the run directory; it works between threads and between processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakeoff.errors import BakeoffError

WAIT_S = 10.0  # time for the last trial of a killed run to notice and end
AGAIN_S = 0.02


@contextmanager
def held(path: Path, busy: str, wait_s: float = WAIT_S) -> Iterator[int]:
    """Holds the file's lock and gives its descriptor, to read and write; makes the file if it does not exist.

    Raises:
        BakeoffError: `busy`, if another still holds the lock after `wait_s` seconds.
        OSError: the file cannot be opened.
    """
    # do not follow a link, do not wait for a pipe
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)) as file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BakeoffError(busy) from None
                time.sleep(AGAIN_S)
        yield file.fileno()
