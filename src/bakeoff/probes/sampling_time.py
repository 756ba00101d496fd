"""The probe of sampling time: making the items of the shown grid, from prompts to finished tokens."""

from collections.abc import Sequence
from typing import Any

from bakeoff.probes.base import Probe, Subject, Values
from bakeoff.seeding import derived_seed
from bakeoff.trial.meters import StepClock


class SamplingTime(Probe):
    """Three rounds, after two that do not count: the first compiles kernels, the second may capture them."""

    name = "sampling_time"
    figures = ("sampling_time_s", "nfe")
    most = fewest = 3

    def begin(self, subjects: Sequence[Subject], point: float | None) -> dict[str, Any]:
        protocol = subjects[0].trainer.protocol
        self._clocks = {subject.name: StepClock(subject.trainer.device) for subject in subjects}
        self._seconds: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        self._nfe: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        self._prompts = subjects[0].trainer.candidate.task.prompts(protocol.sampling.count)
        self._seed = derived_seed("speed", protocol.seeds[0]) % 2**31
        for subject in subjects:
            subject.trainer.model.eval()
        return {"samples": protocol.sampling.count}

    def round(self, subjects: Sequence[Subject], point: float | None) -> None:
        for subject in subjects:
            with self._clocks[subject.name]():
                generated = subject.generator(self._prompts, subject.trainer.protocol.sampling, self._seed)
            self._seconds[subject.name] += [ms / 1000 for ms in self._clocks[subject.name].drain()]
            self._nfe[subject.name].append(float(generated.nfe))

    def values(self) -> Values:
        return {name: {"sampling_time_s": self._seconds[name], "nfe": self._nfe[name]} for name in self._seconds}
