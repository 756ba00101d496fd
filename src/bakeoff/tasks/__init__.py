"""Tasks, one a file: data, prompts and figures. Outside this room a task is only known by its contract."""

from bakeoff.objectives.base import Floor
from bakeoff.protocol.schema import Protocol
from bakeoff.registry import TASKS, load_plugins
from bakeoff.tasks.base import Dataset, Task


def build_task(protocol: Protocol) -> Task:
    """The task of a protocol.

    Raises:
        PlugInRefused: the task is a plug-in that may not be loaded.
        BakeoffError: it cannot be loaded.
    """
    if protocol.task.kind not in TASKS.built_in:
        load_plugins(protocol.plugins)
    return TASKS.get(protocol.task.kind)(protocol)


def inputs(protocol: Protocol) -> dict[str, str]:
    """SHA-256, by name, of everything that is not code and shapes a result of this protocol; read anew.

    Raises:
        PlugInRefused: only a plug-in knows, and it may not be loaded.
    """
    task = build_task(protocol)
    calibration = task.calibration() if task.calibrated else None
    return task.inputs() | ({} if calibration is None else {"calibration": calibration.digest()})


def mnist_floor(pixel_range: tuple[float, float], train_images: int) -> Floor:
    """The lowest unconditional flow-matching loss on MNIST's pixels, for the audit of published tables."""
    from bakeoff.tasks.digits import pixel_floor

    return pixel_floor(pixel_range, train_images)


__all__ = ["Dataset", "Task", "build_task", "inputs", "mnist_floor"]
