"""What one trial reports: a typed record with units in the names, and the evidence the rule reads from it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bakeoff.protocol.sections.bar import Judge
from bakeoff.protocol.votes.agreement import Tally

# What was measured is never negative, nor so large that sums of it overflow; a file from a stranger may claim it.
Amount = Annotated[float, Field(ge=0, le=1e15)]
Loss = Annotated[float, Field(gt=0, le=1e15)]
Slope = Annotated[float, Field(ge=-1e15, le=1e15)]
Count = Annotated[int, Field(ge=0, le=2**60)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(Record):
    """Median and the 10th and 90th percentile of `count` repetitions."""

    median: Annotated[float, Field(gt=0, le=1e15)]
    p10: Amount
    p90: Amount
    count: Count


class QualityFigures(Record):
    """The judge's figures of one set of samples; see `bakeoff.metrics.digits.Quality`."""

    samples: Count
    recognised: Share
    classes: Count
    frechet: Amount
    sharpness: Amount
    class_shares: tuple[Share, ...]


class Memory(Record):
    """Highest use over the life of the trial's own process, in MiB."""

    process_mib: Amount  # VmHWM on Linux: weights, data, libraries, all
    cuda_allocated_mib: Amount | None = None
    cuda_reserved_mib: Amount | None = None


class Measurement(Record):
    """One trial: backbone x seed."""

    backbone: str
    seed: Count
    status: Literal["completed", "diverged"]
    diverged_at_step: Count | None = None
    steps: Count
    loss: Loss | None = None  # mean over the images of the last epoch
    loss_slope_per_epoch: Slope | None = None  # least squares over the last fifth of training
    loss_slope_stderr: Amount | None = None
    still_moving: bool | None = None  # the slope is negative by more than two standard errors
    quality: QualityFigures | None = None
    step_time_ms: Spread | None = None  # forward + backward, over the last 100 steps
    sampling_time_s: Amount | None = None  # of the judged samples
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
    """One backbone in the speed pass."""

    step_time_ms: Spread  # forward + backward of one training batch
    sampling_time_s: Spread | None = None  # of the shown grid
    nfe: Count | None = None


class SpeedRecord(Record):
    """The speed pass: what the rule reads of it; how it was made stands beside."""

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
        loss: None for a diverged trial.
        step_time_ms: of the backbone, from the exclusive speed pass where there is one.
        peak_memory_mb: the unit must be the same for all, nothing else matters.
        waits_for: what has to come before the rule may read the record; None if nothing has to.
    """

    backbone: str
    seed: int
    completed: bool
    checks: tuple[Check, ...]
    loss: float | None
    step_time_ms: float | None
    peak_memory_mb: float | None
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


def check_bar(bar: Judge, quality: QualityFigures) -> tuple[Check, ...]:
    """The quality bar: every threshold must hold, on exactly the protocol's sample count."""
    return (
        Check("samples judged", quality.samples, bar.samples, quality.samples == bar.samples),
        Check("recognised share", quality.recognised, bar.recognised, quality.recognised >= bar.recognised),
        Check("classes covered", quality.classes, bar.classes, quality.classes >= bar.classes),
        Check("Frechet distance", quality.frechet, bar.frechet, quality.frechet <= bar.frechet),
    )


def check_votes(bar: Judge, votes: Tally) -> tuple[Check, ...]:
    """The quality bar where people decide; there is no share while votes are missing."""
    share = votes.share if votes.total >= bar.votes else None
    return (
        Check("votes", votes.total, bar.votes, votes.total >= bar.votes),
        Check("share clean", "-" if share is None else share, bar.clean, share is not None and share >= bar.clean),
    )


def evidence_of(
    measurement: Measurement, bar: Judge, step_time_ms: float | None, votes: Tally | None = None
) -> Evidence:
    """The rule's reading of a trial, with the speed that the speed pass (or the trial itself) measured.

    Args:
        votes: what people said of its samples; read where the bar is theirs.
    """
    completed, waits_for, checks = measurement.status == "completed", None, ()
    if bar.measure == "human" and completed:
        votes = votes or Tally()
        checks = check_votes(bar, votes)
        if votes.total < bar.votes:
            trial = f"{measurement.backbone}-s{measurement.seed}"
            waits_for = f"human judgements of {trial} ({votes.total} of {bar.votes} votes)"
    elif measurement.quality is not None:
        checks = check_bar(bar, measurement.quality)
    memory = measurement.memory
    peak = None if memory is None else memory.cuda_allocated_mib or memory.process_mib
    return Evidence(
        backbone=measurement.backbone,
        seed=measurement.seed,
        completed=completed,
        checks=checks,
        loss=measurement.loss if completed else None,
        step_time_ms=step_time_ms,
        peak_memory_mb=peak,
        waits_for=waits_for,
    )
