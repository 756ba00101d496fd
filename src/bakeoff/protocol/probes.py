"""What a probe reports: figures of all candidates at one or more points, as a file of the run directory holds them."""

from typing import Any

from pydantic import Field

from bakeoff.protocol.measurement import Count, Record, SpeedRecord, Spread

PROBES = ("step_time", "sampling_time")  # of every run: what the rule's costs are read from
FORMAT = 1


class Point(Record):
    """All candidates at one point of the probe's axis.

    Attributes:
        at: the value of the axis; None where a probe has one point only.
        candidates: name -> figure -> its spread over rounds.
    """

    at: float | None = None
    candidates: dict[str, dict[str, Spread]]


class ProbeRecord(Record):
    """One probe over finished candidates.

    Attributes:
        setting: what was held fixed, for a reader.
    """

    format: int = FORMAT
    probe: str
    axis: str | None = None
    points: tuple[Point, ...] = Field(min_length=1)
    device: str = "cpu"
    threads: Count = 0
    setting: dict[str, Any] = Field(default_factory=dict)

    def medians(self, figure: str) -> dict[str, float]:
        """Candidate -> median of a figure at the first point, where it was measured."""
        first = self.points[0].candidates
        return {name: spreads[figure].median for name, spreads in first.items() if figure in spreads}


def upgrade_speed(speed: SpeedRecord) -> dict[str, ProbeRecord]:
    """The speed pass of a run of format 1 as the two probes that took its place."""
    steps = {name: {"step_time_ms": one.step_time_ms} for name, one in speed.backbones.items()}
    sampling = {
        name: {"sampling_time_s": one.sampling_time_s}
        for name, one in speed.backbones.items()
        if one.sampling_time_s is not None
    }
    return {
        "step_time": ProbeRecord(probe="step_time", points=(Point(candidates=steps),)),
        "sampling_time": ProbeRecord(probe="sampling_time", points=(Point(candidates=sampling),)),
    }
