"""One at a time: an advisory lock on a file of the run directory, between threads as between processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakeoff.errors import BakeoffError

WAIT_S = 10.0  # for the last trial of a killed run to notice
AGAIN_S = 0.02


@contextmanager
def held(path: Path, busy: str, wait_s: float = WAIT_S) -> Iterator[int]:
    """The file's descriptor, to read and write, while nobody else holds it; made if it is not there.

    Raises:
        BakeoffError: `busy`, if another still holds it after `wait_s` seconds.
        OSError: it cannot be opened.
    """
    # a link there must not be followed, nor a pipe waited for
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
