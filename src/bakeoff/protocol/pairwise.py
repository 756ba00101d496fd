"""The rule over seeds: who leads, pair by pair, against the spread over seeds.

A backbone falls behind only by what is shown:
  by loss    another's is lower by more than the margin (t-tests on differences of log losses);
  by speed   its loss is equal to a faster one's, shown by two one-sided tests at the margin, and its step is slower
             by more than the speed margin;
  by the tie-break, at equal loss and speed: another's loss, then memory, is lower at all.
p-values of losses are Holm-adjusted across pairs. The one that is left wins, if it also passes the quality bar more
often than every eliminated one (Boschloo's exact test). What is neither shown to be better nor to be equal is
inconclusive, with the number of seeds that would settle it: "not significant" is no tie.

Two roads lead to a winner by quality among backbones that are in truth alike: passing the bar more often (a test in
each direction), and a lower loss (beyond the margin, or at all in the tie-break: who is shown to be beyond it is also
shown to be lower). Each of the three tests gets a third of the level, so that together they keep it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from bakeoff.protocol.measurement import Evidence
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
    unpaired_difference,
)
from bakeoff.protocol.verdict import Comparison, Step, Verdict, speed_step

LARGEST_LOG = 700.0


def find_winner(rule: Rule, passing: list[str], verdict: Verdict) -> str | None:
    """Compare the backbones that pass the bar and return the winner; fills in standings, reasons and steps."""
    contest = _Contest(rule, passing, verdict)
    contest.by_loss()
    if len(contest.left) > 1:
        contest.by_speed()
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


def compare(rule: Rule, log_losses: Mapping[str, Mapping[int, float]]) -> list[Comparison]:
    """Every pair of backbones, from {backbone: {seed: log loss}} of the completed trials."""
    pairs = list(combinations(log_losses, 2))
    differences = [_difference(rule, log_losses[a], log_losses[b]) for a, b in pairs]
    margin, level = math.log1p(rule.loss_margin), 1 - rule.confidence
    beyond = holm([min(1.0, 2 * min(one.p_below(-margin), one.p_above(margin))) for one in differences])
    within = holm([one.p_within(margin) for one in differences])
    nonzero = holm([one.p_nonzero() for one in differences])
    found = []
    for i, ((first, second), one) in enumerate(zip(pairs, differences, strict=True)):
        outcome = "inconclusive"
        if beyond[i] <= _shared_level(rule):
            outcome = "first" if one.mean < 0 else "second"
        elif within[i] <= level:
            outcome = "equivalent"
        interval = one.interval(rule.confidence) if one.freedom else None
        settled_by = None
        if outcome == "inconclusive":
            settled_by = seeds_to_settle(one, margin, _shared_level(rule) / len(pairs), level / len(pairs))
        found.append(
            Comparison(first, second, one, interval, outcome, beyond[i], within[i], nonzero[i], settled_by),
        )
    return found


def _shared_level(rule: Rule) -> float:
    return (1 - rule.confidence) / 3


def _log_losses(seeds: Sequence[Evidence]) -> dict[int, float]:
    return {record.seed: math.log(record.loss) for record in seeds if record.loss is not None and record.loss > 0}


def _difference(rule: Rule, a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    if rule.pairing == "paired":
        shared = [seed for seed in a if seed in b]
        if shared:
            return paired_difference([a[seed] for seed in shared], [b[seed] for seed in shared])
    elif a and b:
        return unpaired_difference(list(a.values()), list(b.values()))
    return Difference(0, 0.0, 0.0, 0.0, 0)


def _loss_step(rule: Rule, one: Comparison) -> Step:
    names, margin = {"first": one.first, "second": one.second}, math.log1p(rule.loss_margin)
    observed = "not known over two seeds"
    if one.interval is not None:
        low, high = (percent_of(end) for end in one.interval)
        mean = percent_of(one.difference.mean)
        observed = f"{mean:+.2f} % ({low:+.2f} to {high:+.2f}, n = {one.difference.seeds}"
        r = one.difference.correlation
        observed += f", r = {r:.2f})" if r is not None else ")"
    return Step(
        "loss over seeds",
        f"{one.first} against {one.second}",
        observed=observed,
        threshold=f"{-100 * math.expm1(margin) / (1 + rule.loss_margin):.2f} to +{100 * rule.loss_margin:.2f} %",
        outcome=f"{names[one.outcome]} better" if one.outcome in names else one.outcome,
        distance=None if one.interval is None else abs(abs(one.difference.mean) - margin),
        flips=_settles(one) if one.outcome == "inconclusive" else _interval_flip(rule, one),
    )


def _interval_flip(rule: Rule, one: Comparison) -> str:
    margin = math.log1p(rule.loss_margin)
    moved = percent_of(abs(abs(one.difference.mean) - margin))
    return f"a ratio of losses {moved:.2f} % {'wider' if one.outcome == 'equivalent' else 'narrower'}, or more spread"


def percent_of(log_ratio: float) -> float:
    """A ratio's change in percent from its logarithm; endless where it is beyond all numbers."""
    return 100 * math.expm1(log_ratio) if log_ratio < LARGEST_LOG else math.inf


def _settles(one: Comparison) -> str:
    if not one.difference.freedom:
        return "a second seed that both complete"
    return f"about {one.settled_by} seeds" if one.settled_by else f"more than {MOST_SEEDS} seeds"


class _Contest:
    """The backbones that are left, and how the others fell behind: by loss, then by speed, then by the tie-break."""

    def __init__(self, rule: Rule, passing: list[str], verdict: Verdict) -> None:
        self.rule, self.left, self.results, self.steps = rule, list(passing), verdict.backbones, verdict.steps
        verdict.comparisons = compare(rule, {name: _log_losses(self.results[name].seeds) for name in passing})
        self.pairs = {frozenset((one.first, one.second)): one for one in verdict.comparisons}

    def by_loss(self) -> None:
        self.steps += [_loss_step(self.rule, one) for one in self.pairs.values()]
        for one in self.pairs.values():
            if one.outcome in ("first", "second"):
                better, worse = (one.first, one.second) if one.outcome == "first" else (one.second, one.first)
                gap = percent_of(abs(one.difference.mean))
                self._lost(
                    worse, f"loss {gap:.1f} % above {better}'s, by more than the margin (p = {one.p_beyond:.2g})"
                )

    def by_speed(self) -> None:
        times = {name: time for name in self.left if (time := self.results[name].step_time_ms) is not None}
        if len(times) < len(self.left):
            unknown = ", ".join(name for name in self.left if name not in times)
            flips = "measuring every candidate's speed"
            self.steps.append(Step("speed margin", unknown, None, None, "speed not measured", None, flips))
            return
        fastest = min(times, key=lambda name: times[name])
        threshold = times[fastest] * (1 + self.rule.speed_margin)
        for name in [name for name in self.left if name != fastest]:
            self.steps.append(speed_step(name, times[name], fastest, times[fastest], self.rule.speed_margin))
            faster = [
                other
                for other in times
                if times[name] > times[other] * (1 + self.rule.speed_margin)
                and self.pairs[frozenset((other, name))].outcome == "equivalent"
            ]
            if faster:
                other = min(faster, key=lambda name: times[name])
                longer = 100 * (times[name] / times[other] - 1)
                self._lost(name, f"quality-equivalent, but a step takes {longer:.1f} % longer than {other}'s")
        level = [name for name in self.left if times[name] <= threshold]
        self._break_ties(level, "better loss", lambda a, b: self.pairs[frozenset((a, b))])
        level = [name for name in level if name in self.left]
        self._break_ties(level, "lower memory", self._memories)

    def _break_ties(self, names: list[str], criterion: str, compared: Callable[[str, str], Comparison]) -> None:
        """At equal quality and speed: what is lower at all, shown over seeds."""
        level = _shared_level(self.rule)
        for a, b in combinations(names, 2):
            if self.pairs[frozenset((a, b))].outcome != "equivalent":
                continue
            one = compared(a, b)
            if not one.difference.freedom:
                flips = f"what {criterion} speaks of, measured for both over two seeds"
                self.steps.append(Step(criterion, f"{a} against {b}", None, None, "not measured", None, flips))
                continue
            shown, p = one.p_nonzero <= level, one.p_nonzero
            lower, higher = (one.first, one.second) if one.difference.mean < 0 else (one.second, one.first)
            self.steps.append(
                Step(
                    criterion,
                    f"{one.first} against {one.second}",
                    observed=f"{percent_of(one.difference.mean):+.2f} % (p = {p:.2g})",
                    threshold=f"p at most {level:.2g}",
                    outcome=f"{lower} leads" if shown else "not shown",
                    distance=None,
                    flips="more spread over seeds" if shown else "less spread over seeds, or more seeds",
                )
            )
            if shown:
                self._lost(higher, f"equal in quality and speed, behind {lower} in the tie-break: {criterion}")

    def _memories(self, a: str, b: str) -> Comparison:
        return compare(self.rule, {name: _log_memories(self.results[name].seeds) for name in (a, b)})[0]

    def explain_undecided(self) -> None:
        for name in self.left:
            undecided = {
                other: one
                for other in self.left
                if other != name and (one := self.pairs[frozenset((name, other))]).outcome == "inconclusive"
            }
            if undecided:
                self.results[name].reason = "neither better nor equal is shown against " + ", ".join(
                    f"{other} (would take {_settles(one)})" for other, one in undecided.items()
                )
            elif any(self.results[other].step_time_ms is None for other in self.left):
                self.results[name].reason = "quality-equivalent; speed not measured"
            else:
                self.results[name].outcome = "tied"
                self.results[name].reason = "equal in quality and speed; neither loss nor memory tells them apart"

    def _lost(self, name: str, reason: str) -> None:
        if name in self.left:
            self.left.remove(name)
            self.results[name].outcome, self.results[name].reason = "lost", reason


def _log_memories(seeds: Sequence[Evidence]) -> dict[int, float]:
    return {record.seed: math.log(peak) for record in seeds if (peak := record.peak_memory_mb)}


def _doubt_elimination(rule: Rule, winner: str, name: str, verdict: Verdict) -> str | None:
    """Why the winner's lead over an eliminated backbone is not shown; None if it is."""
    mine, other = verdict.backbones[winner], verdict.backbones[name]
    passed, of, other_passed, of_other = mine.seeds_passed, len(mine.seeds), other.seeds_passed, len(other.seeds)
    p, level = p_passes_more(passed, of, other_passed, of_other), _shared_level(rule)
    shown = p <= level
    seeds = None if shown else seeds_to_pass_more(passed / of, other_passed / of_other, of, level)
    needed = f"about {seeds} seeds" if seeds else f"more than {MOST_TRIED} seeds"
    verdict.steps.append(
        Step(
            "passes the bar more often",
            f"{winner} against {name}",
            observed=f"{passed} of {of} against {other_passed} of {of_other} (p = {p:.3f})",
            threshold=f"p at most {level:.2g}",
            outcome="shown" if shown else "not shown",
            distance=None,
            flips="a seed that comes out otherwise" if shown else f"{needed} with the same shares",
        )
    )
    if shown:
        return None
    return (
        f"ahead, but that {name} fails the bar more often is not shown "
        f"({passed} of {of} seeds pass against {other_passed} of {of_other}, p = {p:.3f}, needed {level:.2g}; with the "
        f"same shares it would take {needed})"
    )
