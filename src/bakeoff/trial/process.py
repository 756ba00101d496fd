"""The frame of a worker process: its options, and how its errors become exit codes.

The runner starts one as `python -m MODULE RUN ...`; it reports its progress as events (`bakeoff.trial.events`).
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bakeoff.errors import BakeoffError
from bakeoff.registry import plugins_allowed
from bakeoff.rundir.directory import RunDir
from bakeoff.trial.events import Failed, say

STOPPED = 75  # exit code: stopped on request, can be resumed (EX_TEMPFAIL)
UNWRITABLE = 74  # the disk is full, read-only or broken (EX_IOERR)
REFUSED = 2

Work = Callable[[RunDir, argparse.Namespace], int]


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every worker takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("run", type=Path)
    made.add_argument("--device", default="cpu")
    made.add_argument("--threads", type=int, default=0)
    made.add_argument("--data-dir", type=Path, default=None)
    made.add_argument("--checkpoint-every", type=float, default=30.0)
    made.add_argument("--allow-plugins", action="store_true")
    made.add_argument("--launched", type=float, default=time.time())
    made.add_argument("--protocol", default=None, help="digest that the protocol must have")
    made.add_argument("--parent", type=int, default=os.getppid())
    return made


def serve(options: argparse.Namespace, work: Work) -> int:
    """Does the work in the run directory; returns the exit code."""
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if device.type == "cuda" and device.index is not None:  # streams, events and pinned memory are the current device's
        torch.cuda.set_device(device)
    try:
        with plugins_allowed(options.allow_plugins):
            run = RunDir.open(options.run)
            if options.protocol not in (None, run.protocol.digest()):  # the protocol as it is now, not as sealed
                raise BakeoffError(f"{run.path / 'protocol.toml'}: was changed while the run was going on; restore it.")
            return work(run, options)
    except BakeoffError as error:
        say(Failed(str(error)))
        return REFUSED
    except OSError as error:
        say(Failed(f"{error.filename or options.run}: {error.strerror or error}."))
        return UNWRITABLE
