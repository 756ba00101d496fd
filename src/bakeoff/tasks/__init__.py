"""Tasks, one in each file: data, prompts and figures. Code outside this package knows only a task's contract."""

from pathlib import Path

from bakeoff.errors import BakeoffError, did_you_mean
from bakeoff.objectives.base import Floor
from bakeoff.protocol.schema import Protocol
from bakeoff.registry import TASKS, load_plugins
from bakeoff.tasks.base import Dataset, Task


def build_task(protocol: Protocol) -> Task:
    """Builds the task of a protocol.

    Raises:
        PlugInRefused: the task is a plug-in that is not allowed.
        BakeoffError: the task cannot be loaded.
    """
    if protocol.task.kind not in TASKS.built_in:
        load_plugins(protocol.plugins)
    return TASKS.get(protocol.task.kind)(protocol)


def inputs(protocol: Protocol) -> dict[str, str]:
    """SHA-256, by name, of everything except code that shapes a result of this protocol; read again at each call.

    Raises:
        PlugInRefused: only a plug-in knows the inputs, and it is not allowed.
    """
    task = build_task(protocol)
    calibration = task.calibration() if task.calibrated else None
    return task.inputs() | ({} if calibration is None else {"calibration": calibration.digest()})


def take_data(kind: str, given: Path) -> str:
    """Reads a data set that may not be shipped from the user's files, keeps it on this machine, and gives its digest.

    Raises:
        BakeoffError: no such data set, or other files than those of it.
    """
    from bakeoff.data import own

    if kind not in own.READERS:
        near = did_you_mean(kind, own.READERS)
        raise BakeoffError(f"{kind}: no data set that is to be given{near}; allowed: {', '.join(own.READERS)}.")
    return own.take(kind, given)


def mnist_floor(pixel_range: tuple[float, float], train_images: int) -> Floor:
    """The lowest unconditional flow-matching loss on MNIST's pixels, for the audit of published tables."""
    from bakeoff.tasks.digits import pixel_floor

    return pixel_floor(pixel_range, train_images)


__all__ = ["Dataset", "Task", "build_task", "inputs", "mnist_floor", "take_data"]
