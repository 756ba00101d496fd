"""Room on the disk: what a run will write, and whether it fits; asked before the run and before every checkpoint."""

import errno
import os
import shutil
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.models.matching import Fit
from bakeoff.protocol.schema import Protocol
from bakeoff.trial.plan import Plan
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.samples import IMAGE_BYTES

RESERVE = 16 << 20  # for the small files, and so that a run does not take the last byte from others
FLOAT_BYTES = 4
LOG_BYTES = 24  # a loss in metrics.jsonl
CHECKPOINTS = 3  # the newest, the one before it, and the one being written


def kept_bytes(fit: Fit, protocol: Protocol) -> int:
    """What one trial leaves: weights, samples, log; an upper bound."""
    return FLOAT_BYTES * fit.params + IMAGE_BYTES * protocol.samples_drawn + LOG_BYTES * protocol.total_steps


def checkpoint_bytes(fit: Fit, protocol: Protocol) -> int:
    """Weights, AdamW's two moments, the average where there is one, and the losses."""
    copies = 3 + (protocol.training.ema > 0)
    return FLOAT_BYTES * (copies * fit.params + protocol.total_steps)


def require_room_for(run: RunDir, plan: Plan) -> None:
    """Before anything is written: what is not done yet must fit.

    Raises:
        BakeoffError: with what is needed and what is free.
    """
    protocol, fits = plan.protocol, {one.backbone.name: one.fit for one in plan.backbones}
    todo = [trial for trial in run.trials() if not trial.done]
    needed = sum(kept_bytes(fits[trial.backbone], protocol) for trial in todo)
    needed += CHECKPOINTS * max((checkpoint_bytes(fits[trial.backbone], protocol) for trial in todo), default=0)
    held = sum(path.stat().st_size for trial in todo for path in trial.path.glob("*.ckpt"))
    free = free_bytes(run.path)
    if free is not None and free < needed - held + RESERVE:
        raise BakeoffError(
            f"{run.path}: {mib(free)} free on its disk, the run needs {mib(needed - held + RESERVE)} (weights, samples "
            "and checkpoints). Free some, or choose another --out."
        )


def require_room(path: Path, size: int) -> None:
    """While running: a file of this size must fit and leave the reserve.

    Raises:
        OSError: ENOSPC, before anything is written.
    """
    free = free_bytes(path.parent)
    if free is not None and free < size + RESERVE:
        text = f"{os.strerror(errno.ENOSPC)}: {mib(free)} free, {mib(size + RESERVE)} needed"
        raise OSError(errno.ENOSPC, text, str(path))


def free_bytes(path: Path) -> int | None:
    """Of the disk that holds the path, or would hold it; None where the system does not know."""
    path = path.absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
