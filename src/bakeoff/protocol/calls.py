"""Quality against calls of the network: what the probe `calls` reports, and what is read off it.

A call is one evaluation of the network on a path, before guidance, which doubles it. Every number of calls is tried
with two sets of noise: what is found on the first counts only where the second confirms it, so that no number is picked
by luck.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from pydantic import Field

from bakeoff.protocol.figures import Figure
from bakeoff.protocol.measurement import Count, Quality, Record, check_bar
from bakeoff.protocol.probes import FORMAT, ProbeRecord
from bakeoff.protocol.scaling import LARGEST_LOG, Scale
from bakeoff.protocol.sections.bar import Bar
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import Difference, paired_difference

LADDER = (1, 2, 4, 5, 10, 20, 50, 100, 250, 1000)
LARGEST = 1000


class Rung(Record):
    """One number of calls.

    Attributes:
        calls: that were allowed.
        steps: the most steps of the sampler that fit in.
        nfe: evaluations of the network that they take for an item, guidance counted.
        found, confirmed: the figures of one set of items on each set of noise.
    """

    calls: Count
    steps: Count
    nfe: Count
    found: Quality
    confirmed: Quality

    @property
    def both(self) -> tuple[Quality, Quality]:
        return self.found, self.confirmed

    def mean(self, figure: str) -> float | None:
        """Of a figure over both sets; None if one lacks it."""
        values = [one.figures.get(figure) for one in self.both]
        return None if any(one is None for one in values) else fmean(one for one in values if one is not None)


class Curve(Record):
    """One trained model over the rungs that fit it, from few calls to many."""

    backbone: str
    seed: Count
    rungs: tuple[Rung, ...]

    def first(self, good: Callable[[Quality], bool]) -> Rung | None:
        """The rung of the fewest calls that is good on both sets of noise."""
        return next((rung for rung in self.rungs if all(map(good, rung.both))), None)

    def enough(self, bar: Bar, figures: Mapping[str, Figure]) -> Rung | None:
        """The operating point: the fewest calls that pass the bar on both sets."""
        return self.first(lambda quality: all(check.passed for check in check_bar(bar, quality, figures)))

    def as_good(self, figure: Figure, limit: float) -> Rung | None:
        """The fewest calls at which a figure is at least as good as the limit on both sets."""

        def good(quality: Quality) -> bool:
            value = quality.figures.get(figure.name)
            return value is not None and figure.meets(value, limit)

        return self.first(good)


class CallsRecord(Record):
    """All trained models of a run; whole once every one of them is there.

    Attributes:
        ladder: the numbers of calls that were tried.
        setting: what was held fixed, for a reader.
    """

    format: int = FORMAT
    ladder: tuple[Count, ...] = Field(min_length=1)
    curves: tuple[Curve, ...] = ()
    setting: dict[str, Any] = Field(default_factory=dict)

    def of(self, backbone: str) -> list[Curve]:
        return [curve for curve in self.curves if curve.backbone == backbone]

    @property
    def backbones(self) -> list[str]:
        return list(dict.fromkeys(curve.backbone for curve in self.curves))


@dataclass(frozen=True)
class Row:
    """One backbone at one number of calls.

    Attributes:
        figures: means over its seeds and both sets of noise.
        passed: seeds that pass the bar with so many calls or fewer.
        ms: of a whole solve, by cost; those of the probe `solve_time`.
    """

    backbone: str
    calls: int
    steps: int
    figures: dict[str, float]
    passed: int
    seeds: int
    ms: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """Two backbones at equal quality: the log of the first's time over the second's, over the seeds in which both
    reach the limit; None if there are none."""

    first: str
    second: str
    difference: Difference | None

    def ratio(self, confidence: float) -> tuple[float, float, float] | None:
        """The ratio of the times with its interval, which is endless if there is one seed."""
        if self.difference is None:
            return None
        low, high = self.difference.interval(confidence)
        return math.exp(self.difference.mean), math.exp(low), math.exp(high) if high < LARGEST_LOG else math.inf


@dataclass(frozen=True)
class EqualQuality:
    """What equal quality costs.

    Attributes:
        limit: of the figure: within the margin of the best of that backbone whose best is the worst.
        calls: backbone -> seed -> the fewest calls within the limit; None where none are.
        pairs: cost -> every pair, in the time of a whole solve.
    """

    figure: Figure
    limit: float
    calls: dict[str, dict[int, int | None]]
    pairs: dict[str, list[Pair]]


@dataclass(frozen=True)
class Reading:
    """What is read off a record.

    Attributes:
        figures: of the bar, and the one that is compared at equal quality.
        enough: backbone -> seed -> the operating point's calls; None where no number of calls passes the bar. Empty
            where the bar has no thresholds, because people decide it.
        equal: over the backbones that pass the bar in half of their seeds; None if there are not two, or if the figure
            that is compared is not one of samples.
    """

    figures: list[Figure]
    rows: list[Row]
    enough: dict[str, dict[int, int | None]]
    equal: EqualQuality | None
    confidence: float

    def said(self) -> list[str]:
        """In sentences: what is enough for each backbone, and what equal quality costs."""
        lines = [f"{name} {_told('passes the bar', seeds)}" for name, seeds in self.enough.items()]
        if not self.enough:
            return ["people decide the bar, so that no number of calls is enough by itself"]
        if self.equal is None:
            why = "fewer than two backbones with a figure to compare pass the bar in half of their seeds"
            return [*lines, f"equal quality: not asked, since {why}"]
        equal = self.equal
        lines.append(
            f"equal quality: {equal.figure.title} {equal.limit:.4g}, the margin from the best of the backbone whose "
            "best is the worst"
        )
        lines += [f"{name} {_told('reaches it', seeds)}" for name, seeds in equal.calls.items()]
        for cost, pairs in equal.pairs.items():
            for pair in pairs:
                ratio, what = pair.ratio(self.confidence), COSTS[cost]
                if ratio is None or pair.difference is None:
                    lines.append(f"{what}: {pair.first} against {pair.second}: no seed in which both reach it")
                    continue
                known = f"{ratio[1]:.3g} to {ratio[2]:.3g}, {pair.difference.seeds} seeds"
                if not pair.difference.freedom:
                    known = "one seed, so no interval"
                elif not pair.difference.spread:
                    known = f"the same calls in all of {pair.difference.seeds} seeds, so no interval"
                lines.append(f"{what}: {pair.first} takes {ratio[0]:.3g} times as long as {pair.second} ({known})")
        return lines


COSTS = {"one_ms": "one item", "batch_ms": "a batch"}  # of the probe `solve_time`


def read_calls(
    record: CallsRecord, timed: ProbeRecord | None, rule: Rule, bar: Bar, figures: Mapping[str, Figure]
) -> Reading:
    """The curves row by row, the operating points, and equal quality."""
    compared, solves = _compared(rule, bar, figures), _solves(timed)
    shown = {name: figures[name] for name in bar.thresholds if name in figures}
    shown |= {} if compared is None else {compared.name: compared}
    enough = {
        name: {curve.seed: (rung := curve.enough(bar, figures)) and rung.calls for curve in record.of(name)}
        for name in (record.backbones if bar.thresholds else ())
    }
    rows = []
    for name in record.backbones:
        for calls in record.ladder:
            rungs = [rung for curve in record.of(name) for rung in curve.rungs if rung.calls == calls]
            if not rungs:
                continue
            means = {one: [rung.mean(one) for rung in rungs] for one in shown}
            values = {one: fmean(found) for one, found in means.items() if None not in found}  # pyright: ignore
            passed = sum(one is not None and one <= calls for one in enough.get(name, {}).values())
            ms = {cost: times[name, calls] for cost, times in solves.items() if (name, calls) in times}
            rows.append(Row(name, calls, rungs[0].steps, values, passed, len(rungs), ms))
    passing = [name for name, seeds in enough.items() if 2 * sum(map(bool, seeds.values())) >= len(seeds)]
    equal = None
    if compared is not None:
        equal = _equal_quality(record, passing, Scale(compared, rule.scale, rule.quality_margin), rows, solves)
    return Reading(list(shown.values()), rows, enough, equal, rule.confidence)


def _compared(rule: Rule, bar: Bar, figures: Mapping[str, Figure]) -> Figure | None:
    """The figure of samples that is read at equal quality: the rule's, or, where that is the loss, the bar's first that
    has no upper bound and should be low, such as a distance, else the bar's first."""
    if rule.quality != "loss":
        return figures[rule.quality]
    named = [figures[name] for name in bar.thresholds if name in figures]
    return next((one for one in named if one.high is None and one.better == "lower"), next(iter(named), None))


def _solves(timed: ProbeRecord | None) -> dict[str, dict[tuple[str, int], float]]:
    """Cost -> backbone and calls -> the median of a whole solve, in milliseconds."""
    found: dict[str, dict[tuple[str, int], float]] = {}
    for point in () if timed is None else timed.points:
        for name, costs in point.candidates.items():
            for cost, spread in costs.items():
                if point.at is not None and cost in COSTS:
                    found.setdefault(cost, {})[name, round(point.at)] = spread.median
    return found


def _equal_quality(
    record: CallsRecord,
    names: Sequence[str],
    scale: Scale,
    rows: Sequence[Row],
    solves: Mapping[str, Mapping[tuple[str, int], float]],
) -> EqualQuality | None:
    """None if fewer than two backbones have the figure."""
    figure, found = scale.figure, {name: [] for name in names}
    for row in rows:
        if row.backbone in found and figure.name in row.figures:
            found[row.backbone].append(row.figures[figure.name])
    best = {name: min(values, key=lambda value: scale.sign * value) for name, values in found.items() if values}
    if len(best) < 2:
        return None
    limit = scale.threshold(max(best.values(), key=lambda value: scale.sign * value))
    rungs = {name: {curve.seed: curve.as_good(figure, limit) for curve in record.of(name)} for name in best}
    calls = {name: {seed: rung and rung.calls for seed, rung in seeds.items()} for name, seeds in rungs.items()}
    return EqualQuality(figure, limit, calls, {cost: _pairs(calls, times) for cost, times in solves.items()})


def _pairs(calls: Mapping[str, Mapping[int, int | None]], times: Mapping[tuple[str, int], float]) -> list[Pair]:
    pairs = []
    for first, second in combinations(calls, 2):
        ends = [(calls[first][seed], calls[second].get(seed)) for seed in calls[first]]
        logs = [
            (math.log(times[first, one]), math.log(times[second, other]))
            for one, other in ends
            if one and other and (first, one) in times and (second, other) in times
        ]
        pairs.append(Pair(first, second, paired_difference(*zip(*logs, strict=True)) if logs else None))
    return pairs


def _told(does: str, calls: Mapping[int, int | None]) -> str:
    """Of each seed, in their order."""
    if not any(calls.values()):
        return f"never {does}"
    return f"{does} with {', '.join('(never)' if one is None else str(one) for one in calls.values())} calls, by seed"
