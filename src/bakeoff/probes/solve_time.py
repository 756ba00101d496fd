"""The probe of whole solves, from noise to items: over numbers of calls of the network, of one item and of a batch."""

from collections.abc import Sequence
from typing import Any

from bakeoff.probes.base import Probe, Subject, Values
from bakeoff.probes.steps import with_calls
from bakeoff.protocol.calls import LADDER
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.space import Space
from bakeoff.seeding import derived_seed
from bakeoff.trial.meters import StepClock


class SolveTime(Probe):
    """One item and the shown grid's number of items at each rung of a ladder; a candidate that no step fits is left
    out there."""

    name = "solve_time"
    figures = ("one_ms", "batch_ms")
    axis = "calls"
    warm_up, fewest, most = 1, 3, 20
    seconds = 5.0

    def __init__(self, ladder: Sequence[int] = LADDER) -> None:
        self.ladder = ladder

    def points(self, protocol: Protocol, space: Space) -> Sequence[float | None]:
        return [float(calls) for calls in self.ladder]

    def begin(self, subjects: Sequence[Subject], point: float | None) -> dict[str, Any]:
        assert point is not None
        count = subjects[0].trainer.protocol.sampling.count
        task = subjects[0].trainer.candidate.task
        self._prompts = {"one_ms": task.prompts(1), "batch_ms": task.prompts(count)}
        self._seed = derived_seed("speed", subjects[0].trainer.protocol.seeds[0]) % 2**31
        self._clocks: dict[tuple[str, str], StepClock] = {}
        self._times: dict[str, dict[str, list[float]]] = {}
        self._sampling = {one.name: with_calls(one.trainer.candidate, round(point)) for one in subjects}
        for subject in subjects:
            subject.trainer.model.eval()
            if self._sampling[subject.name] is not None:
                self._times[subject.name] = {figure: [] for figure in self.figures}
                for figure in self.figures:
                    self._clocks[subject.name, figure] = StepClock(subject.trainer.device)
        return {"items of a batch": count}

    def round(self, subjects: Sequence[Subject], point: float | None) -> None:
        for figure, prompts in self._prompts.items():
            for subject in subjects:
                if (sampling := self._sampling[subject.name]) is not None:
                    clock = self._clocks[subject.name, figure]
                    with clock():
                        subject.generator(prompts, sampling, self._seed)
                    self._times[subject.name][figure] += clock.drain()

    def values(self) -> Values:
        return self._times
