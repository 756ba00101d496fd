"""Deadlines of a run: no part begins that would end too late, judged by the parts that are finished."""

import time

from bakeoff.probes.base import Probe
from bakeoff.rundir.directory import RunDir, TrialDir

PROBES_S = 2 * Probe.seconds  # rounds of steps end after half of it; the rest is to start, to sample and for the floor


class OutOfTime(Exception):
    """The next part of the run would not end in time; the message says which part, and what is done."""


def expected_s(run: RunDir, trial: TrialDir, device: str) -> float:
    """Seconds that a trial will take, judged by finished trials on such a device; 0 if there are none.

    The longest trial of the same backbone counts, or the longest of all if that backbone has none yet.
    """
    kind = device.partition(":")[0]
    done = [trial.measurement() for trial in run.all_trials() if trial.done]
    finished = [one for one in done if one.status == "completed" and one.device.partition(":")[0] == kind]
    alike = [one for one in finished if one.backbone == trial.backbone]
    return max((one.wall_s for one in alike or finished), default=0.0)


def left_s(run: RunDir, device: str) -> float:
    """Seconds that all trials which are not done will take, judged in the same way."""
    return sum(expected_s(run, trial, device) for trial in run.trials() if not trial.done)


def require_time(run: RunDir, deadline: float | None, name: str, needed_s: float) -> None:
    """Raises OutOfTime if the part `name` takes longer than the time left; deadlines are times of time.monotonic()."""
    if deadline is None or needed_s <= (left_s := deadline - time.monotonic()):
        return
    trials = list(run.all_trials())
    raise OutOfTime(
        f"{sum(trial.done for trial in trials)} of {len(trials)} trials are done; {name} was not begun: "
        f"it takes about {needed_s:.0f} s, and {max(0.0, left_s):.0f} s are left"
    )
