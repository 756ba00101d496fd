"""Events of a run: typed messages about its progress, and their form on a worker's standard output.

The runner passes a worker's events to its listener, with the name of the trial or pass; it adds events of its own.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.sweep import Swept
from bakeoff.protocol.verdict import Verdict


@dataclass(frozen=True)
class Started:
    """A training begins; the step is above 0 if it was resumed."""

    step: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """The loss of a step; a loss that is not finite is given by its name."""

    step: int
    loss: float | str


@dataclass(frozen=True)
class Sampling:
    """Training has ended, and sampling begins."""


@dataclass(frozen=True)
class Probing:
    """A probe begins."""

    probe: str


@dataclass(frozen=True)
class Stopped:
    """A training stopped on request, with a checkpoint at this step."""

    step: int


@dataclass(frozen=True)
class Damaged:
    """Something is damaged; the event says what is done about it."""

    message: str


@dataclass(frozen=True)
class Failed:
    """The worker refused its input, or cannot write."""

    message: str


@dataclass(frozen=True)
class AlreadyDone:
    """An earlier run has finished this trial."""


@dataclass(frozen=True)
class Stopping:
    """The user asked to stop; a checkpoint is being written."""


@dataclass(frozen=True)
class Measured:
    """A trial is finished."""

    measurement: Measurement


@dataclass(frozen=True)
class Chosen:
    """The sweep is done, and every backbone has its value."""

    swept: Swept


@dataclass(frozen=True)
class SoFar:
    """All candidates have finished a seed, and more seeds follow, for about `left_s` seconds."""

    verdict: Verdict
    left_s: float


@dataclass(frozen=True)
class MachineChanged:
    """The machine differs from the one on which the run began."""

    changed: Mapping[str, Any]


Event = (
    Started | Stepped | Sampling | Probing | Stopped | Damaged | Failed | AlreadyDone | Stopping | Measured | SoFar
    | MachineChanged | Chosen
)  # fmt: skip
OF_WORKERS = {kind.__name__: kind for kind in (Started, Stepped, Sampling, Probing, Stopped, Damaged, Failed)}


def say(event: Event) -> None:
    """Sends an event to the runner, as one JSON line."""
    try:
        print(json.dumps({"event": type(event).__name__, **asdict(event)}), flush=True)
    except BrokenPipeError:  # the parent is gone; the worker notices by itself
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def heard(line: str) -> Event | None:
    """The event in a worker's line; None for any other line, such as a plug-in's own prints."""
    try:
        values = json.loads(line)
        return OF_WORKERS[values.pop("event")](**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
