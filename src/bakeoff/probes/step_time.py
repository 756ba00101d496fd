"""The probe of step time: forward and backward of one training batch; the rule's cost unless it names another."""

from collections.abc import Sequence
from typing import Any

from bakeoff.probes.base import Probe, Subject, Values
from bakeoff.trial.meters import StepClock
from bakeoff.trial.trainer import REPORT_STEPS


class StepTime(Probe):
    """At most 100 rounds; after half a minute it stops once five are done."""

    name = "step_time"
    figures = ("step_time_ms",)

    def begin(self, subjects: Sequence[Subject], point: float | None) -> dict[str, Any]:
        self._clocks = {subject.name: StepClock(subject.trainer.device) for subject in subjects}
        self._times: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        self._rounds = 0
        for subject in subjects:
            subject.trainer.model.train()
        return {"batch": subjects[0].trainer.protocol.training.batch}

    def round(self, subjects: Sequence[Subject], point: float | None) -> None:
        for subject in subjects:
            subject.trainer.time_step(self._clocks[subject.name])
        self._rounds += 1
        # as in training: if the host waited after each step, the GPU would idle in the next
        if self._rounds % REPORT_STEPS == 0:
            self._drain()

    def values(self) -> Values:
        self._drain()
        return {name: {"step_time_ms": times} for name, times in self._times.items()}

    def _drain(self) -> None:
        for name, clock in self._clocks.items():
            self._times[name] += clock.drain()
