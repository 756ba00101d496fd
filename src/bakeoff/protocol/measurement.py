"""What one trial reports: a typed record with units in the names, and the evidence the rule reads from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bakeoff.protocol.figures import Figure
from bakeoff.protocol.formats import FORMAT
from bakeoff.protocol.sections.bar import Bar
from bakeoff.protocol.votes.agreement import Tally

# What was measured is never negative, nor so large that sums of it overflow; a file from a stranger may claim it.
Amount = Annotated[float, Field(ge=0, le=1e15)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Count = Annotated[int, Field(ge=0, le=2**60)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(Record):
    """Median and the 10th and 90th percentile of `count` repetitions."""

    median: Annotated[float, Field(gt=0, le=1e15)]
    p10: Amount
    p90: Amount
    count: Count


class Quality(Record):
    """The named figures of one set of items; `bakeoff.protocol.figures` has their directions."""

    samples: Count
    figures: dict[Name, Number]
    detail: dict[Name, list[Number]] = {}  # what stands behind a figure, such as the share of each class


def with_figures(quality: Quality, figures: Mapping[str, float]) -> Quality:
    """The same with more figures; one that is not finite is left out, as it was not measured."""
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    return quality.model_copy(update={"figures": {**quality.figures, **finite}})


class Memory(Record):
    """Highest use over the life of the trial's own process, in MiB."""

    process_mib: Amount  # VmHWM on Linux: weights, data, libraries, all
    cuda_allocated_mib: Amount | None = None
    cuda_reserved_mib: Amount | None = None


class Measurement(Record):
    """One trial: backbone x seed."""

    format: Literal[2] = FORMAT
    backbone: str
    seed: Count
    swept: Amount | None = None  # the value of the swept key that it was trained with
    status: Literal["completed", "diverged"]
    diverged_at_step: Count | None = None
    steps: Count
    loss: Amount | None = None  # mean over the items of the last epoch, or fifth of training
    loss_slope_per_epoch: Number | None = None  # least squares over the last fifth of training
    loss_slope_stderr: Amount | None = None
    still_moving: bool | None = None  # the slope is negative by more than two standard errors
    quality: Quality | None = None
    items: Count | None = None  # test items behind a share, where they are not the samples
    step_time_ms: Spread | None = None  # forward + backward, over the last 100 steps
    sampling_time_s: Amount | None = None  # of the assessed samples
    nfe: Count | None = None  # network evaluations a sample
    memory: Memory | None = None
    wall_s: Amount  # the trial's processes, start to end, without the time they were stopped
    accounted_s: dict[str, Amount]  # where the wall-clock went
    params: Count
    flops_per_sample: Count  # one forward pass
    state_bytes: Count
    device: str
    precision: str
    threads: Count
    resumed: Count = 0  # how often the trial was taken up again
    notes: tuple[str, ...] = ()


class SpeedFigures(Record):
    """One backbone in the speed pass of a run of format 1."""

    step_time_ms: Spread  # forward + backward of one training batch
    sampling_time_s: Spread | None = None  # of the shown grid
    nfe: Count | None = None


class SpeedRecord(Record):
    """The speed pass of a run of format 1: what the rule reads of it; how it was made stands beside."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    backbones: dict[str, SpeedFigures]


class FloorRecord(Record):
    """The floor of the run's own loss, which no model can be below: an estimate with standard error; None: unknown."""

    value: Amount | None
    stderr: Amount | None
    draws: Count


@dataclass(frozen=True)
class Check:
    """One threshold applied to one observed value."""

    name: str
    observed: float | str
    threshold: float | str
    passed: bool


@dataclass(frozen=True)
class Evidence:
    """All that the rule reads of one trial.

    Attributes:
        checks: the quality bar, threshold by threshold; empty for a diverged trial, which fails it.
        figures: quality figures by name, the loss among them; empty for a diverged trial.
        costs: by name, of the backbone: from a probe where there is one, else of the trial.
        items: how many items stand behind a figure that is a share of them; None where that is not known.
        group: the trials that it may be compared with, where the rule decides by groups.
        waits_for: what has to come before the rule may read the record; None if nothing has to.
    """

    backbone: str
    seed: int
    completed: bool
    checks: tuple[Check, ...]
    figures: Mapping[str, float]
    costs: Mapping[str, float]
    items: int | None = None
    group: str = ""
    waits_for: str | None = None

    @property
    def passed(self) -> bool:
        return self.completed and bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def standing(self) -> str:
        """At the bar, in a word."""
        if not self.completed:
            return "diverged"
        return "waits" if self.waits_for else "pass" if self.passed else "fail"


def check_bar(bar: Bar, quality: Quality, figures: Mapping[str, Figure]) -> tuple[Check, ...]:
    """The quality bar: every threshold must hold, on exactly the protocol's sample count.

    A figure that was not measured fails its threshold.
    """
    checks = [Check("samples assessed", quality.samples, bar.samples, quality.samples == bar.samples)]
    for name, threshold in bar.thresholds.items():
        value, figure = quality.figures.get(name), figures[name]
        passed = value is not None and figure.meets(value, threshold)
        checks.append(Check(figure.title, "-" if value is None else value, threshold, passed))
    return tuple(checks)


def check_votes(bar: Bar, votes: Tally) -> tuple[Check, ...]:
    """The quality bar where people decide; there is no share while votes are missing."""
    share = votes.share if votes.total >= bar.votes else None
    return (
        Check("votes", votes.total, bar.votes, votes.total >= bar.votes),
        Check("share clean", "-" if share is None else share, bar.clean, share is not None and share >= bar.clean),
    )


def costs_of(measurement: Measurement) -> dict[str, float]:
    """What the trial itself measured, by the names of `bakeoff.protocol.figures.COSTS`."""
    memory, step = measurement.memory, measurement.step_time_ms
    costs = {
        "step_time_ms": step and step.median,
        "sampling_time_s": measurement.sampling_time_s,
        "peak_memory_mib": memory and (memory.cuda_allocated_mib or memory.process_mib),
        "wall_s": measurement.wall_s,
        "nfe": measurement.nfe,
        "flops_per_sample": measurement.flops_per_sample,
        "state_bytes": measurement.state_bytes,
    }
    return {name: float(value) for name, value in costs.items() if value is not None}


def evidence_of(
    measurement: Measurement,
    bar: Bar,
    figures: Mapping[str, Figure],
    costs: Mapping[str, float] | None = None,
    votes: Tally | None = None,
    group: str = "",
) -> Evidence:
    """The rule's reading of a trial.

    Args:
        figures: those that a run of this task can have.
        costs: of the backbone, as the probes measured them; they go before the trial's own.
        votes: what people said of its samples; read where the bar is theirs.
        group: the trials that it may be compared with.

    Raises:
        BakeoffError: a figure has a value that it cannot have.
    """
    completed, quality = measurement.status == "completed", measurement.quality
    waits_for, checks, values = None, (), {}
    if bar.measure == "human" and completed:
        votes = votes or Tally()
        checks = check_votes(bar, votes)
        if votes.total < bar.votes:
            trial = f"{measurement.backbone}-s{measurement.seed}"
            waits_for = f"human judgements of {trial} ({votes.total} of {bar.votes} votes)"
    elif quality is not None:
        checks = check_bar(bar, quality, figures)
    for name, value in (quality.figures if quality else {}).items():
        if name in figures:
            figures[name].check(value, f"{measurement.backbone}-s{measurement.seed}: {name}")
    if completed:
        loss = {} if measurement.loss is None else {"loss": measurement.loss}
        values = {**loss, **(quality.figures if quality else {})}
    return Evidence(
        backbone=measurement.backbone,
        seed=measurement.seed,
        completed=completed,
        checks=checks,
        figures=values,
        costs={**costs_of(measurement), **(costs or {})},
        items=measurement.items if measurement.items is not None else quality and quality.samples,
        group=group,
        waits_for=waits_for,
    )
