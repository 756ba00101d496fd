"""What a verdict holds: the outcome, how every backbone came out, and each step of the reasoning."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean, median
from typing import Literal

from bakeoff.protocol.figures import COSTS, Figure
from bakeoff.protocol.measurement import Evidence
from bakeoff.protocol.scaling import Scale
from bakeoff.protocol.statistics import Difference, mean_interval, share_stderr
from bakeoff.protocol.sweep import Swept

Outcome = Literal["winner", "inconclusive", "all_eliminated", "compared", "grouped", "incomplete", "deviated"]
Standing = Literal[
    "won", "lost", "tied", "eliminated", "inconclusive", "reference", "better", "cheaper", "equal", "worse"
]
StepKind = Literal["complete", "seed", "bar", "elimination", "quality", "cost", "tie_break"]


@dataclass(frozen=True)
class Step:
    """One comparison: what was asked of which backbone, what was seen, what followed, what would flip it.

    Attributes:
        kind: which part of the rule it is; `criterion` says the same to people.
        distance: by what share the observed value would have to change to reach the threshold (for the quality
            bar over seeds: how many seeds would have to change); None where there is no such change.
    """

    kind: StepKind
    criterion: str
    backbone: str
    observed: float | str | None
    threshold: float | str | None
    outcome: str
    distance: float | None
    flips: str


@dataclass(frozen=True)
class Comparison:
    """The quality of two backbones over seeds, on the scale of the rule, where lower is better.

    Attributes:
        difference: of scaled values (`bakeoff.protocol.scaling`), first minus second. Of a loss by ratio: of natural
            logarithms, -0.05 is a loss 5 % lower.
        interval: t-interval of its mean at the protocol's confidence, not corrected for the number of pairs; None
            with fewer than two seeds.
        outcome: which is better by more than the quality margin, or "equivalent" within it, or "inconclusive".
        p_beyond, p_within, p_nonzero: Holm-adjusted across pairs: against "no further apart than the margin",
            "further apart than the margin", "no difference at all".
        settled_by: seeds that would settle an inconclusive comparison (power 0.8 at what was observed); None if
            it is settled, or would take more than 1000, or more test items.
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
    """How one backbone came out.

    Attributes:
        figures: quality figures by name, the loss among them; means over the seeds that have them.
        intervals: of these means, at the protocol's confidence; None where only one seed has the figure.
        costs: by name; medians over seeds.
    """

    outcome: Standing
    reason: str
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    costs: dict[str, float]
    seeds_passed: int
    seeds: list[Evidence]

    @property
    def loss(self) -> float | None:
        return self.figures.get("loss")


@dataclass
class Verdict:
    """The outcome, how every backbone came out, and the steps that led there.

    Attributes:
        figures: what the names in `backbones` mean: titles, units, directions.
        loss_floor: the memoriser's, of this run's own loss.
        sweep: which value of the swept key each backbone was trained with, and why.
        groups: where the rule decides by groups, one verdict each.
        so_far: what the rule says of an incomplete or deviated run.
    """

    outcome: Outcome
    winner: str | None
    indicative: bool
    backbones: dict[str, Result]
    steps: list[Step]
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    quality: str = "loss"
    loss_floor: float | None = None
    sweep: Swept | None = None
    groups: dict[str, "Verdict"] = field(default_factory=dict)
    so_far: "Verdict | None" = None

    def __str__(self) -> str:
        return headline(self)

    def _repr_html_(self) -> str:
        """For notebooks: the criteria of every backbone, and the verdict in one sentence."""
        names, rows = list(self.backbones), criteria_table(self)
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr><th>{escape(criterion)}</th>{''.join(f'<td>{escape(row[name])}</td>' for name in names)}</tr>"
            for criterion, row in rows.items()
        )
        return f"<table><tr><th></th>{head}</tr>{body}</table><p><b>{escape(headline(self))}</b></p>"


def summarise(seeds: list[Evidence], confidence: float, figures: Mapping[str, Figure]) -> Result:
    """One backbone's seeds, before the rule is applied."""
    names = dict.fromkeys(name for record in seeds for name in record.figures)
    costs = dict.fromkeys(name for record in seeds for name in record.costs)
    means, intervals = {}, {}
    for name in names:
        values = [record.figures[name] for record in seeds if name in record.figures]
        means[name] = fmean(values)
        items = fewest_items(seeds) if name in figures and figures[name].share else None
        error = share_stderr([means[name]], [items]) if items else 0.0
        intervals[name] = mean_interval(values, confidence, error)
    return Result(
        outcome="inconclusive",
        reason="",
        figures=means,
        intervals=intervals,
        costs={name: median(record.costs[name] for record in seeds if name in record.costs) for name in costs},
        seeds_passed=sum(record.passed for record in seeds),
        seeds=seeds,
    )


def fewest_items(seeds: Sequence[Evidence]) -> int | None:
    """Test items behind the shares of a backbone's trials; None where any of them does not tell."""
    known = [record.items for record in seeds if record.completed]
    return min((items for items in known if items), default=None) if all(known) else None


def cost_step(scale: Scale, name: str, value: float, cheapest: str, least: float) -> Step:
    """A cost beside the lowest and the margin."""
    threshold, title = scale.threshold(least), scale.figure.title
    within, distance = scale.within(value, least), change(value, threshold)
    return Step(
        "cost",
        f"{title} margin",
        name,
        observed=value,
        threshold=threshold,
        outcome=f"equivalent to {cheapest}" if within else f"behind {cheapest}",
        distance=distance,
        flips=f"a {title} {percent(distance)} {'higher' if within else 'lower'}",
    )


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    mark = " (indicative)" if verdict.indicative else ""
    if verdict.outcome == "deviated":
        return f"DEVIATED from what was sealed: {'; '.join(change.rstrip('.') for change in verdict.deviations)}."
    if verdict.outcome == "winner" and verdict.winner is not None:
        return f"{verdict.winner} wins{mark}: {verdict.backbones[verdict.winner].reason}."
    if verdict.outcome == "all_eliminated":
        return "all eliminated: no backbone passes the quality bar in half of its seeds."
    if verdict.outcome == "compared":
        return _headline_of_reference(verdict, mark)
    if verdict.outcome == "grouped":
        return "by groups: " + "; ".join(f"{name}: {headline(one).rstrip('.')}" for name, one in verdict.groups.items())
    if verdict.outcome == "incomplete":
        waiting = sum(seed.waits_for is not None for one in verdict.backbones.values() for seed in one.seeds)
        if waiting == len(verdict.missing):
            return f"incomplete: {waiting} {'trial waits' if waiting == 1 else 'trials wait'} for human judgements."
        parts = len(verdict.missing)
        return f"incomplete: {parts} {'part of the run is' if parts == 1 else 'parts of the run are'} missing."
    return _headline_of_undecided(verdict)


def _headline_of_undecided(verdict: Verdict) -> str:
    """The pairs that seeds would settle, in one clause; every other backbone with its own reason."""
    undecided = {name for name, one in verdict.backbones.items() if one.outcome == "inconclusive"}
    pairs = [
        one for one in verdict.comparisons if one.outcome == "inconclusive" and {one.first, one.second} <= undecided
    ]
    seeds = [one.settled_by for one in pairs if one.settled_by is not None]
    said, names = [], list[str]()
    if seeds and len(seeds) == len(pairs):
        names = [name for name in verdict.backbones if any(name in (one.first, one.second) for one in pairs)]
        among, possible = f"{', '.join(names[:-1])} and {names[-1]}", math.comb(len(names), 2)
        where = f"between {among}" if len(pairs) == possible else f"in {len(pairs)} of {possible} pairs of {among}"
        least, most = min(seeds), max(seeds)
        about = f"about {least} seeds" if least == most else f"about {least} to {most} seeds a pair"
        said.append(f"{where} neither a difference nor equality is shown; {about} would settle it")
    said += [f"{name}: {one.reason}" for name, one in verdict.backbones.items() if one.reason and name not in names]
    return f"inconclusive: {'; '.join(said)}"


def _headline_of_reference(verdict: Verdict, mark: str) -> str:
    reference = next((name for name, one in verdict.backbones.items() if one.outcome == "reference"), None)
    others = {name: one for name, one in verdict.backbones.items() if name != reference}
    better = [name for name, one in others.items() if one.outcome in ("better", "cheaper")]
    rest = "; ".join(f"{name}: {one.outcome}, {one.reason}" for name, one in others.items())
    beaten = (
        f"{' and '.join(better)} {'beat' if len(better) > 1 else 'beats'}" if better else "nothing is shown to beat"
    )
    return f"{beaten} {reference or 'the reference'}{mark}: {rest}."


def figure(value: float | str) -> str:
    """Four significant digits."""
    return value if isinstance(value, str) else f"{value:.4g}"


def change(observed: float, threshold: float) -> float | None:
    """By what share `observed` must change to become `threshold`."""
    return abs(threshold / observed - 1) if observed else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def criteria_table(verdict: Verdict) -> dict[str, dict[str, str]]:
    """The study's table, criterion x backbone, in words."""
    results, title = verdict.backbones, _titles(verdict.figures)
    figures = dict.fromkeys(name for one in results.values() for name in one.figures)
    costs = dict.fromkeys(name for one in results.values() for name in one.costs)
    table = {"Quality bar": {name: _bar(result) for name, result in results.items()}}
    for one in figures:
        known = verdict.figures.get(one)
        words = ("best", "worst") if known is not None and known.better else None
        table[title(one)] = _ranked({n: r.figures.get(one) for n, r in results.items()}, words, known)
    table["Loss over floor"] = {name: _over_floor(result.loss, verdict.loss_floor) for name, result in results.items()}
    for one in costs:
        table[title(one)] = _ranked({n: r.costs.get(one) for n, r in results.items()}, ("lowest", "highest"), None)
    table[f"{title(verdict.quality)}, interval"] = {
        name: _interval(result.intervals.get(verdict.quality)) for name, result in results.items()
    }
    table["Decision"] = {name: f"{result.outcome}: {result.reason}" for name, result in results.items()}
    return table


def _titles(figures: Mapping[str, Figure]):
    known = {**COSTS, **figures}

    def title(name: str) -> str:
        label = known[name].label if name in known else name
        return label[0].upper() + label[1:]

    return title


def _bar(result: Result) -> str:
    waiting = sum(seed.waits_for is not None for seed in result.seeds)
    waits = f", {waiting} {'waits' if waiting == 1 else 'wait'} for votes" if waiting else ""
    return f"{result.seeds_passed} of {len(result.seeds)} seeds pass{waits}"


def _over_floor(loss: float | None, floor: float | None) -> str:
    """Times the loss of a perfect memoriser of the training set."""
    return f"{figure(loss / floor)} times {figure(floor)}" if loss is not None and floor else "not measured"


def _interval(ends: tuple[float, float] | None) -> str:
    return "one seed" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"


def _ranked(values: Mapping[str, float | None], words: tuple[str, str] | None, of: Figure | None) -> dict[str, str]:
    """Each value, the first and the last of several marked; lower comes first unless the figure says otherwise."""
    known = sorted(value for value in values.values() if value is not None)
    if of is not None and of.better == "higher":
        known.reverse()
    found = {}
    for name, value in values.items():
        found[name] = "not measured" if value is None else figure(value)
        if value is not None and words is not None and len(known) > 1 and value in (known[0], known[-1]):
            found[name] += f" ({words[0] if value == known[0] else words[1]})"
    return found
