"""What a run says while it goes on: typed events, and their form on a worker's standard output.

The runner passes a worker's events on to whoever listens, with the name of the trial or pass, among its own.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.verdict import Verdict


@dataclass(frozen=True)
class Started:
    """A training begins, at a step beyond 0 where it was taken up again."""

    step: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """The loss of a step; a loss that is no number by its name."""

    step: int
    loss: float | str


@dataclass(frozen=True)
class Sampling:
    """Training is over; items are made."""


@dataclass(frozen=True)
class Probing:
    """A probe begins."""

    probe: str


@dataclass(frozen=True)
class Stopped:
    """A training was stopped on request, with a checkpoint at this step."""

    step: int


@dataclass(frozen=True)
class Damaged:
    """Something was not as it was written, and what is done about it."""

    message: str


@dataclass(frozen=True)
class Failed:
    """The worker refuses its input, or cannot write."""

    message: str


@dataclass(frozen=True)
class AlreadyDone:
    """A trial was finished by an earlier run."""


@dataclass(frozen=True)
class Stopping:
    """The user asked to stop; a checkpoint is being written."""


@dataclass(frozen=True)
class Measured:
    """A trial is finished."""

    measurement: Measurement


@dataclass(frozen=True)
class SoFar:
    """All candidates have finished a seed, and others are to come."""

    verdict: Verdict


@dataclass(frozen=True)
class MachineChanged:
    """The machine is not the one that the run began on."""

    changed: Mapping[str, Any]


Event = (
    Started | Stepped | Sampling | Probing | Stopped | Damaged | Failed | AlreadyDone | Stopping | Measured | SoFar
    | MachineChanged
)  # fmt: skip
OF_WORKERS = {kind.__name__: kind for kind in (Started, Stepped, Sampling, Probing, Stopped, Damaged, Failed)}


def say(event: Event) -> None:
    """Tell the runner, as one JSON line."""
    try:
        print(json.dumps({"event": type(event).__name__, **asdict(event)}), flush=True)
    except BrokenPipeError:  # the parent is gone; the worker notices by itself
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def heard(line: str) -> Event | None:
    """What a worker said; None for anything else, such as a plug-in's own prints."""
    try:
        values = json.loads(line)
        return OF_WORKERS[values.pop("event")](**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
