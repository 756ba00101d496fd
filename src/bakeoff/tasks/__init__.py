"""Tasks: data, codec, objective, sampler and judge, bound into what a trial needs."""

from bakeoff.protocol.schema import Protocol
from bakeoff.tasks.digits import DigitsTask

TASKS = {"mnist": DigitsTask}


def build_task(protocol: Protocol) -> DigitsTask:
    return TASKS[protocol.task.name](protocol)
