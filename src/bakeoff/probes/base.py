"""The contract of a probe: it measures finished candidates in turn, while nothing else of the run is running.

Times taken while trials train are not comparable, because the machine's speed drifts. Here every round measures each
candidate once, so that a slow minute slows all of them.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bakeoff.objectives import Generator
from bakeoff.protocol.probes import Point, ProbeRecord
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.space import Space
from bakeoff.trial.meters import load_average, spread
from bakeoff.trial.trainer import Trainer

Values = Mapping[str, Mapping[str, Sequence[float]]]  # candidate -> figure -> one value per round


@dataclass(frozen=True)
class Subject:
    """One finished candidate under the probe: its trainer with the trained weights, and its generator."""

    name: str
    trainer: Trainer
    generator: Generator


class Probe(ABC):
    """One measurement.

    Attributes:
        figures: names of what it measures.
        axis: what its points differ in; None if there is one point.
        warm_up: number of rounds that do not count.
        most, fewest: limits of the rounds that count; after the fewest, it stops when the seconds are over.
    """

    name: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    axis: ClassVar[str | None] = None
    warm_up: ClassVar[int] = 2
    most: ClassVar[int] = 100
    fewest: ClassVar[int] = 5
    seconds: ClassVar[float] = 30.0

    def points(self, protocol: Protocol, space: Space) -> Sequence[float | None]:
        return (None,)

    @abstractmethod
    def begin(self, subjects: Sequence[Subject], point: float | None) -> dict[str, Any]:
        """Prepares a point; returns what is held fixed, for the record."""

    @abstractmethod
    def round(self, subjects: Sequence[Subject], point: float | None) -> None:
        """Measures every candidate once, in turn."""

    @abstractmethod
    def values(self) -> Values:
        """One value per round since the point began, for each candidate."""


def measure(probe: Probe, protocol: Protocol, subjects: Sequence[Subject]) -> ProbeRecord:
    """Measures all points of a probe."""
    space, device = subjects[0].trainer.candidate.task.space, subjects[0].trainer.device
    setting: dict[str, Any] = {"load_average_before": load_average()}
    points = []
    for at in probe.points(protocol, space):
        setting |= probe.begin(subjects, at)
        started, rounds = time.monotonic(), 0
        while rounds < probe.most + probe.warm_up and (
            rounds < probe.fewest + probe.warm_up or time.monotonic() - started < probe.seconds
        ):
            probe.round(subjects, at)
            rounds += 1
        setting["rounds"] = rounds - probe.warm_up
        candidates = {
            name: {
                figure: found
                for figure, taken in figures.items()
                if (found := spread(list(taken)[probe.warm_up :])) is not None
            }
            for name, figures in probe.values().items()
        }
        points.append(Point(at=at, candidates=candidates))
    return ProbeRecord(
        probe=probe.name,
        axis=probe.axis,
        points=tuple(points),
        device=str(device),
        threads=torch.get_num_threads(),
        setting=setting,
    )
