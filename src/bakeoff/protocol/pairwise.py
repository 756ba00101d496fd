"""The rule over seeds: who leads, pair by pair, against the spread over seeds.

A backbone falls behind only by what is shown:
  by quality  another's is better by more than the margin (t-tests on differences of scaled values);
  by cost     its quality is equal to a cheaper one's, shown by two one-sided tests at the margin, and its cost is
              higher by more than the cost margin;
  by the tie-break, at equal quality and cost: another's quality, then the tie-break's cost, is better at all.
p-values of quality are Holm-adjusted across pairs. The one that is left wins, if it also passes the quality bar more
often than every eliminated one (Boschloo's exact test). What is neither shown to be better nor to be equal is
inconclusive, with the number of seeds that would settle it: "not significant" is no tie.

Where quality is a share of items, all of this must hold against the binomial error of the test items, too.

Two roads lead to a winner by quality among backbones that are in truth alike: passing the bar more often (a test in
each direction), and a better quality (beyond the margin, or at all in the tie-break: who is shown to be beyond it is
also shown to be better). Each of the three tests gets a third of the level, so that together they keep it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from bakeoff.protocol.measurement import Evidence
from bakeoff.protocol.points import dearer, not_measured, ratio_of_zeros
from bakeoff.protocol.scaling import Scale, cost_scale, tie_break_scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import (
    MOST_SEEDS,
    MOST_TRIED,
    Difference,
    holm,
    p_passes_more,
    paired_difference,
    seeds_to_pass_more,
    seeds_to_settle,
    share_stderr,
    unpaired_difference,
)
from bakeoff.protocol.verdict import Comparison, Step, Verdict, cost_step, fewest_items

UNKNOWN = Difference(0, 0.0, 0.0, 0.0, 0)  # shows nothing


def find_winner(rule: Rule, scale: Scale, passing: list[str], verdict: Verdict) -> str | None:
    """Compare the backbones that pass the bar and return the winner; fills in standings, reasons and steps."""
    contest = _Contest(rule, scale, passing, verdict)
    contest.by_quality()
    if len(contest.left) > 1:
        contest.by_cost()
    if len(contest.left) > 1:
        contest.explain_undecided()
        return None
    if not contest.left:  # a circle: diverged trials leave other seeds to each pair
        for name in passing:
            verdict.backbones[name].outcome = "inconclusive"
            verdict.backbones[name].reason = "the comparisons contradict each other: they rest on different seeds"
        return None
    (winner,) = contest.left
    eliminated = [name for name in verdict.backbones if name not in passing]
    doubts = [doubt for name in eliminated if (doubt := _doubt_elimination(rule, winner, name, verdict)) is not None]
    if doubts:
        verdict.backbones[winner].reason = "; ".join(doubts)
        return None
    leads = [f"{one} loses ({verdict.backbones[one].reason})" for one in passing if one != winner]
    out = [f"{' and '.join(eliminated)} eliminated"] if eliminated else []
    verdict.backbones[winner].reason = "; ".join(leads + out) or "the only backbone"
    return winner


def compare(
    rule: Rule,
    scale: Scale,
    seeds: Mapping[str, Sequence[Evidence]],
    pairs: Sequence[tuple[str, str]] | None = None,
) -> list[Comparison]:
    """Compare backbones over their completed trials, every pair of them or only those that are given."""
    pairs = list(combinations(seeds, 2)) if pairs is None else pairs
    differences = [_difference(rule, scale, seeds[a], seeds[b]) for a, b in pairs]
    margin, level = scale.bound, 1 - rule.confidence
    beyond = holm([min(1.0, 2 * min(one.p_below(-margin), one.p_above(margin))) for one in differences])
    within = holm([one.p_within(margin) for one in differences])
    nonzero = holm([one.p_nonzero() for one in differences])
    found = []
    for i, ((first, second), one) in enumerate(zip(pairs, differences, strict=True)):
        outcome = "inconclusive"
        if beyond[i] <= shared_level(rule):
            outcome = "first" if one.mean < 0 else "second"
        elif within[i] <= level:
            outcome = "equivalent"
        interval = one.interval(rule.confidence) if one.freedom else None
        settled_by = None
        if outcome == "inconclusive":
            settled_by = seeds_to_settle(one, margin, shared_level(rule) / len(pairs), level / len(pairs))
        found.append(
            Comparison(first, second, one, interval, outcome, beyond[i], within[i], nonzero[i], settled_by),
        )
    return found


def shared_level(rule: Rule) -> float:
    """Of each of the three tests that lead to a winner by quality."""
    return (1 - rule.confidence) / 3


def unscalable(scale: Scale, seeds: Mapping[str, Sequence[Evidence]]) -> list[str]:
    """Backbones of which a value has no ratio to another."""
    return [
        name
        for name, records in seeds.items()
        if any(scale.scaled(value) is None for value in _values(scale, records).values())
    ]


def _values(scale: Scale, seeds: Sequence[Evidence]) -> dict[int, float]:
    """The plain values of completed trials, by seed."""
    name = scale.figure.name
    both = {record.seed: record.figures.get(name, record.costs.get(name)) for record in seeds}
    return {seed: value for seed, value in both.items() if value is not None}


def _difference(rule: Rule, scale: Scale, first: Sequence[Evidence], second: Sequence[Evidence]) -> Difference:
    a, b = _values(scale, first), _values(scale, second)
    if rule.pairing == "paired":
        shared = [seed for seed in a if seed in b]
        a, b = {seed: a[seed] for seed in shared}, {seed: b[seed] for seed in shared}
    x, y = ([scale.scaled(value) for value in side.values()] for side in (a, b))
    known = [value for value in x if value is not None], [value for value in y if value is not None]
    if not a or not b or len(known[0]) < len(x) or len(known[1]) < len(y):
        return UNKNOWN
    found = (paired_difference if rule.pairing == "paired" else unpaired_difference)(*known)
    if not scale.figure.share:
        return found
    items = fewest_items(first), fewest_items(second)
    if items[0] is None or items[1] is None:
        return UNKNOWN
    shares = [sum(side.values()) / len(side) for side in (a, b)]
    return replace(found, item_stderr=share_stderr(shares, [items[0], items[1]]))


def quality_step(scale: Scale, one: Comparison) -> Step:
    """A comparison over seeds as a line of the verdict."""
    names = {"first": one.first, "second": one.second}
    observed = "not known over two seeds"
    if one.interval is not None:
        r = one.difference.correlation
        observed = (
            f"{scale.words(one.difference.mean)} ({scale.span(one.interval)}, "
            f"n = {one.difference.seeds}{f', r = {r:.2f}' if r is not None else ''})"
        )
    return Step(
        "quality",
        f"{scale.figure.title} over seeds",
        f"{one.first} against {one.second}",
        observed=observed,
        threshold=f"{scale.span((-scale.bound, scale.bound))}{scale.unit}",
        outcome=f"{names[one.outcome]} better" if one.outcome in names else one.outcome,
        distance=None if one.interval is None else abs(abs(one.difference.mean) - scale.bound),
        flips=settles(one) if one.outcome == "inconclusive" else _interval_flip(scale, one),
    )


def _interval_flip(scale: Scale, one: Comparison) -> str:
    moved = scale.apart(abs(abs(one.difference.mean) - scale.bound))
    what = "ratio" if scale.kind == "ratio" else "difference"
    way = "wider" if one.outcome == "equivalent" else "narrower"
    return f"a {what} of {scale.figure.title} {moved} {way}, or more spread"


def settles(one: Comparison) -> str:
    """What it would take to settle an inconclusive comparison."""
    if not one.difference.freedom:
        return "a second seed that both complete"
    if one.settled_by:
        return f"about {one.settled_by} seeds"
    return f"more than {MOST_SEEDS} seeds" + (", or more test items" if one.difference.item_stderr else "")


class _Contest:
    """The backbones that are left, and how the others fell behind: by quality, then by cost, then by the tie-break."""

    def __init__(self, rule: Rule, scale: Scale, passing: list[str], verdict: Verdict) -> None:
        self.rule, self.scale, self.cost, self.last = rule, scale, cost_scale(rule), tie_break_scale(rule)
        self.left, self.results, self.steps = list(passing), verdict.backbones, verdict.steps
        verdict.comparisons = compare(rule, scale, {name: self.results[name].seeds for name in passing})
        self.pairs = {frozenset((one.first, one.second)): one for one in verdict.comparisons}

    def by_quality(self) -> None:
        self.steps += [quality_step(self.scale, one) for one in self.pairs.values()]
        for one in self.pairs.values():
            if one.outcome in ("first", "second"):
                better, worse = (one.first, one.second) if one.outcome == "first" else (one.second, one.first)
                gap = f"{self.scale.figure.title} {self.scale.worse_by(abs(one.difference.mean))} {better}'s"
                self._lost(worse, f"{gap}, by more than the margin (p = {one.p_beyond:.2g})")

    def by_cost(self) -> None:
        costs = self._costs()
        if len(costs) < len(self.left):
            self.steps.append(not_measured(self.cost, [name for name in self.left if name not in costs]))
            return
        cheapest = min(costs, key=lambda name: costs[name])
        least = costs[cheapest]
        for name in [name for name in self.left if name != cheapest]:
            self.steps.append(cost_step(self.cost, name, costs[name], cheapest, least))
            cheaper = [
                other
                for other in costs
                if not self.cost.within(costs[name], costs[other])
                and self.pairs[frozenset((other, name))].outcome == "equivalent"
            ]
            if cheaper:
                other = min(cheaper, key=lambda name: costs[name])
                self._lost(name, dearer(self.cost, costs[name], other, costs[other]))
        level = [name for name in self.left if self.cost.within(costs[name], least)]
        self._break_ties(level, self.scale, f"better {self.scale.figure.title}", self._qualities)
        level = [name for name in level if name in self.left]
        self._break_ties(level, self.last, f"lower {self.last.figure.title}", self._tie_breaks)

    def _costs(self) -> dict[str, float]:
        costs = {name: self.results[name].costs.get(self.rule.cost) for name in self.left}
        return {name: cost for name, cost in costs.items() if cost is not None}

    def _break_ties(
        self, names: list[str], scale: Scale, criterion: str, compared: Callable[[str, str], tuple[Difference, float]]
    ) -> None:
        """At equal quality and cost: what is better at all, shown over seeds by the p-value against "no difference"."""
        level = shared_level(self.rule)
        for a, b in combinations(names, 2):
            if self.pairs[frozenset((a, b))].outcome != "equivalent":
                continue
            one, p = compared(a, b)
            if not one.freedom:
                flips = f"the {scale.figure.title} of both, measured over two seeds"
                self.steps.append(
                    Step("tie_break", criterion, f"{a} against {b}", None, None, "not measured", None, flips)
                )
                continue
            shown = p <= level
            ahead, behind = (a, b) if one.mean < 0 else (b, a)
            self.steps.append(
                Step(
                    "tie_break",
                    criterion,
                    f"{a} against {b}",
                    observed=f"{scale.words(one.mean)} (p = {p:.2g})",
                    threshold=f"p at most {level:.2g}",
                    outcome=f"{ahead} leads" if shown else "not shown",
                    distance=None,
                    flips="more spread over seeds" if shown else "less spread over seeds, or more seeds",
                )
            )
            if shown:
                self._lost(behind, f"equal in quality and cost, behind {ahead} in the tie-break: {criterion}")

    def _qualities(self, a: str, b: str) -> tuple[Difference, float]:
        one = self.pairs[frozenset((a, b))]
        return one.difference, one.p_nonzero

    def _tie_breaks(self, a: str, b: str) -> tuple[Difference, float]:
        one = _difference(self.rule, self.last, self.results[a].seeds, self.results[b].seeds)
        return one, one.p_nonzero()

    def explain_undecided(self) -> None:
        zeros, measured = unscalable(self.scale, {name: self.results[name].seeds for name in self.left}), self._costs()
        for name in self.left:
            undecided = {
                other: one
                for other in self.left
                if other != name and (one := self.pairs[frozenset((name, other))]).outcome == "inconclusive"
            }
            if undecided and zeros:
                self.results[name].reason = ratio_of_zeros(self.scale, zeros)
            elif undecided:
                self.results[name].reason = "neither better nor equal is shown against " + ", ".join(
                    f"{other} (would take {settles(one)})" for other, one in undecided.items()
                )
            elif len(measured) < len(self.left):
                self.results[name].reason = f"quality-equivalent; {self.cost.figure.title} not measured"
            else:
                self.results[name].outcome = "tied"
                self.results[name].reason = (
                    f"equal in quality and cost; neither {self.scale.figure.title} nor {self.last.figure.title} tells "
                    "them apart"
                )

    def _lost(self, name: str, reason: str) -> None:
        if name in self.left:
            self.left.remove(name)
            self.results[name].outcome, self.results[name].reason = "lost", reason


def passes_more_step(rule: Rule, name: str, other: str, verdict: Verdict, p: float) -> Step:
    """Whether it is shown that a backbone passes the bar more often than another."""
    passed, of, other_passed, of_other = _counts(name, other, verdict)
    shown, level = p <= shared_level(rule), shared_level(rule)
    return Step(
        "elimination",
        "passes the bar more often",
        f"{name} against {other}",
        observed=f"{passed} of {of} against {other_passed} of {of_other} (p = {p:.3f})",
        threshold=f"p at most {level:.2g}",
        outcome="shown" if shown else "not shown",
        distance=None,
        flips="a seed that comes out otherwise"
        if shown
        else f"{_seeds_needed(rule, name, other, verdict)} with the same shares",
    )


def _counts(name: str, other: str, verdict: Verdict) -> tuple[int, int, int, int]:
    mine, theirs = verdict.backbones[name], verdict.backbones[other]
    return mine.seeds_passed, len(mine.seeds), theirs.seeds_passed, len(theirs.seeds)


def _seeds_needed(rule: Rule, name: str, other: str, verdict: Verdict) -> str:
    passed, of, other_passed, of_other = _counts(name, other, verdict)
    seeds = seeds_to_pass_more(passed / of, other_passed / of_other, of, shared_level(rule))
    return f"about {seeds} seeds" if seeds else f"more than {MOST_TRIED} seeds"


def _doubt_elimination(rule: Rule, winner: str, name: str, verdict: Verdict) -> str | None:
    """Why the winner's lead over an eliminated backbone is not shown; None if it is."""
    passed, of, other_passed, of_other = _counts(winner, name, verdict)
    p, level = p_passes_more(passed, of, other_passed, of_other), shared_level(rule)
    verdict.steps.append(passes_more_step(rule, winner, name, verdict, p))
    if p <= level:
        return None
    return (
        f"ahead, but that {name} fails the bar more often is not shown "
        f"({passed} of {of} seeds pass against {other_passed} of {of_other}, p = {p:.3f}, needed {level:.2g}; with the "
        f"same shares it would take {_seeds_needed(rule, winner, name, verdict)})"
    )
