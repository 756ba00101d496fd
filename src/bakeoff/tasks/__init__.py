"""Tasks, one in each file: data, prompts and figures. Code outside this package knows only a task's contract."""

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


def mnist_floor(pixel_range: tuple[float, float], train_images: int) -> Floor:
    """The lowest unconditional flow-matching loss on MNIST's pixels, for the audit of published tables."""
    from bakeoff.tasks.digits import pixel_floor

    return pixel_floor(pixel_range, train_images)


__all__ = ["Dataset", "Task", "build_task", "inputs", "mnist_floor"]
