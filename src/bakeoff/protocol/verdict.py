"""What a verdict holds: the outcome, how every backbone came out, and each step of the reasoning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal

from bakeoff.protocol.measurement import Evidence
from bakeoff.protocol.statistics import Difference, mean_interval

Outcome = Literal["winner", "inconclusive", "all_eliminated", "incomplete", "deviated"]
Standing = Literal["won", "lost", "tied", "eliminated", "inconclusive"]


@dataclass(frozen=True)
class Step:
    """One comparison: what was asked of which backbone, what was seen, what followed, what would flip it.

    Attributes:
        distance: by what share the observed value would have to change to reach the threshold (for the quality
            bar over seeds: how many seeds would have to change); None where there is no such change.
    """

    criterion: str
    backbone: str
    observed: float | str | None
    threshold: float | str | None
    outcome: str
    distance: float | None
    flips: str


@dataclass(frozen=True)
class Comparison:
    """The losses of two backbones over seeds.

    Attributes:
        difference: of the natural logarithms of the losses, first minus second: -0.05 is a loss 5 % lower.
        interval: t-interval of its mean at the protocol's confidence, not corrected for the number of pairs; None
            with fewer than two seeds.
        outcome: which is better by more than the loss margin, or "equivalent" within it, or "inconclusive".
        p_beyond, p_within, p_nonzero: Holm-adjusted across pairs: against "no further apart than the margin",
            "further apart than the margin", "no difference at all".
        settled_by: seeds that would settle an inconclusive comparison (power 0.8 at what was observed); None if
            it is settled, or would take more than 1000.
    """

    first: str
    second: str
    difference: Difference
    interval: tuple[float, float] | None
    outcome: Literal["first", "second", "equivalent", "inconclusive"]
    p_beyond: float
    p_within: float
    p_nonzero: float
    settled_by: int | None


@dataclass
class Result:
    """How one backbone came out; figures are means (loss) and medians (the others) over its seeds."""

    outcome: Standing
    reason: str
    loss: float | None
    loss_interval: tuple[float, float] | None
    step_time_ms: float | None
    peak_memory_mb: float | None
    seeds_passed: int
    seeds: list[Evidence]


@dataclass
class Verdict:
    """The outcome, how every backbone came out, and the steps that led there."""

    outcome: Outcome
    winner: str | None
    indicative: bool
    backbones: dict[str, Result]
    steps: list[Step]
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    loss_floor: float | None = None  # the memoriser's, of this run's own loss
    so_far: "Verdict | None" = None  # what the rule says of an incomplete or deviated run


def summarise(seeds: list[Evidence], confidence: float) -> Result:
    """One backbone's seeds, before the rule is applied."""
    losses = [record.loss for record in seeds if record.loss is not None]
    return Result(
        outcome="inconclusive",
        reason="",
        loss=fmean(losses) if losses else None,
        loss_interval=mean_interval(losses, confidence),
        step_time_ms=_median([record.step_time_ms for record in seeds]),
        peak_memory_mb=_median([record.peak_memory_mb for record in seeds]),
        seeds_passed=sum(record.passed for record in seeds),
        seeds=seeds,
    )


def speed_step(name: str, time_ms: float, fastest: str, fastest_ms: float, margin: float) -> Step:
    """A step time beside the fastest's and the margin."""
    threshold = fastest_ms * (1 + margin)
    slower, distance = time_ms > threshold, change(time_ms, threshold)
    return Step(
        "speed margin",
        name,
        observed=time_ms,
        threshold=threshold,
        outcome=f"slower than {fastest}" if slower else f"speed-equivalent to {fastest}",
        distance=distance,
        flips=f"a step time {percent(distance)} {'lower' if slower else 'higher'}",
    )


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    if verdict.outcome == "deviated":
        return f"DEVIATED from what was sealed: {'; '.join(change.rstrip('.') for change in verdict.deviations)}."
    if verdict.outcome == "winner" and verdict.winner is not None:
        mark = " (indicative)" if verdict.indicative else ""
        return f"{verdict.winner} wins{mark}: {verdict.backbones[verdict.winner].reason}."
    if verdict.outcome == "all_eliminated":
        return "all eliminated: no backbone passes the quality bar in half of its seeds."
    if verdict.outcome == "incomplete":
        waiting = sum(seed.waits_for is not None for one in verdict.backbones.values() for seed in one.seeds)
        if waiting == len(verdict.missing):
            return f"incomplete: {waiting} {'trial waits' if waiting == 1 else 'trials wait'} for human judgements."
        parts = len(verdict.missing)
        return f"incomplete: {parts} {'part of the run is' if parts == 1 else 'parts of the run are'} missing."
    return "inconclusive: " + "; ".join(
        f"{name}: {result.reason}" for name, result in verdict.backbones.items() if result.reason
    )


def figure(value: float | str) -> str:
    """Four significant digits."""
    return value if isinstance(value, str) else f"{value:.4g}"


def change(observed: float, threshold: float) -> float | None:
    """By what share `observed` must change to become `threshold`."""
    return abs(threshold / observed - 1) if observed else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def criteria_table(verdict: Verdict) -> dict[str, dict[str, str]]:
    """The study's table, criterion x backbone, in words."""
    results = verdict.backbones
    return {
        "Quality bar": {name: _bar(result) for name, result in results.items()},
        "Loss": _ranked({name: result.loss for name, result in results.items()}, "best", "worst"),
        "Loss over floor": {name: _over_floor(result.loss, verdict.loss_floor) for name, result in results.items()},
        "Speed": _ranked({name: result.step_time_ms for name, result in results.items()}, "fastest", "slowest"),
        "Memory": _ranked({name: result.peak_memory_mb for name, result in results.items()}, "lowest", "highest"),
        "Loss, interval": {name: _interval(result.loss_interval) for name, result in results.items()},
        "Decision": {name: f"{result.outcome}: {result.reason}" for name, result in results.items()},
    }


def _bar(result: Result) -> str:
    waiting = sum(seed.waits_for is not None for seed in result.seeds)
    waits = f", {waiting} {'waits' if waiting == 1 else 'wait'} for votes" if waiting else ""
    return f"{result.seeds_passed} of {len(result.seeds)} seeds pass{waits}"


def _over_floor(loss: float | None, floor: float | None) -> str:
    """Times the loss of a perfect memoriser of the training set."""
    return f"{figure(loss / floor)} times {figure(floor)}" if loss is not None and floor else "not measured"


def _interval(ends: tuple[float, float] | None) -> str:
    return "one seed" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"


def _ranked(values: Mapping[str, float | None], first: str, last: str) -> dict[str, str]:
    known = [value for value in values.values() if value is not None]
    words = {}
    for name, value in values.items():
        if value is None:
            words[name] = "not measured"
        elif len(known) > 1 and value == min(known):
            words[name] = f"{figure(value)} ({first})"
        elif len(known) > 1 and value == max(known):
            words[name] = f"{figure(value)} ({last})"
        else:
            words[name] = figure(value)
    return words
