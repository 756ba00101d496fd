"""Checks of a plan before it is sealed: is the comparison matched, and can the rule decide what it is asked?

Errors refuse the plan; warnings are printed and sealed with it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.bar import Judge
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import detectable, power_above, power_within
from bakeoff.protocol.verdict import figure
from bakeoff.protocol.votes.agreement import sets_by_session

FLOP_MATCH = 1.5
ENOUGH_POWER = 0.8
FEWEST_UNPAIRED = 5

Level = Literal["ok", "warning", "error"]


class LintFinding(NamedTuple):
    check: str
    level: Level
    message: str


class Counts(NamedTuple):
    """What the plan found for one backbone."""

    params: int
    tokens: int
    flops_per_sample: int


class RealDraws(NamedTuple):
    """How real, held-out images came out at the judge: minimum, median and maximum of several sets of one size."""

    samples: int
    recognised: tuple[float, float, float]
    classes: tuple[float, float, float]
    frechet: tuple[float, float, float]


def lint(protocol: Protocol, counts: Mapping[str, Counts], real: Sequence[RealDraws]) -> list[LintFinding]:
    """All checks, those that hold included, in the order a reader asks them."""
    rule, seeds = protocol.rule, len(protocol.seeds)
    return [
        *_matches(protocol, counts),
        *_outcomes(rule, seeds, len(protocol.backbones)),
        *(_power(rule, seeds, len(protocol.backbones)) if rule.evidence == "seeds" and seeds > 1 else []),
        *(_people(protocol) if protocol.judge.measure == "human" else _bar(protocol.judge, real)),
    ]


def _matches(protocol: Protocol, counts: Mapping[str, Counts]) -> list[LintFinding]:
    params = [one.params for one in counts.values()]
    tokens = sorted({one.tokens for one in counts.values()})
    flops = {name: one.flops_per_sample for name, one in counts.items()}
    tolerance, ratio = protocol.budget.tolerance, max(params) / min(params)
    found = [
        LintFinding(
            "parameters",
            "ok" if ratio <= tolerance else "error",
            f"largest over smallest is {ratio:.3f}; allowed {tolerance:g}",
        ),
        LintFinding(
            "tokens",
            "ok" if len(tokens) == 1 else "error",
            f"all backbones read {tokens[0]} tokens" if len(tokens) == 1 else f"backbones read {tokens} tokens",
        ),
    ]
    most, least = max(flops, key=lambda name: flops[name]), min(flops, key=lambda name: flops[name])
    if not flops[least]:
        return [*found, LintFinding("FLOPs", "warning", f"{least} states no FLOPs; nothing to compare")]
    ratio = flops[most] / flops[least]
    message = f"{most} does {ratio:.2f} times the FLOPs of {least}"
    if ratio > FLOP_MATCH:
        message += (
            f", more than {FLOP_MATCH:g}: matched in parameters, not in arithmetic; read quality with that in mind"
        )
    return [*found, LintFinding("FLOPs", "ok" if ratio <= FLOP_MATCH else "warning", message)]


def _outcomes(rule: Rule, seeds: int, backbones: int) -> list[LintFinding]:
    """Can every outcome of the rule occur with this number of seeds?"""
    if backbones < 2:
        return [LintFinding("outcomes", "warning", "one backbone: there is nothing to compare it with")]
    if rule.evidence == "point":
        text = "one seed" if seeds == 1 else f"point evidence on {seeds} seeds"
        return [LintFinding("outcomes", "warning", f"{text}: any verdict is indicative, whatever the figures say")]
    if seeds < 2:
        return [
            LintFinding(
                "outcomes",
                "error",
                'rule.evidence = "seeds" with one seed: nothing can be shown; give two or more seeds (three to be '
                'able to show that a backbone fails the bar), or rule.evidence = "point"',
            )
        ]
    found = []
    level = (1 - rule.confidence) / 3
    if rule.pairing == "unpaired" and seeds < FEWEST_UNPAIRED:
        text = (
            f"unpaired intervals on {seeds} seeds do not keep their confidence where trials diverge or spreads differ"
        )
        found.append(LintFinding("outcomes", "warning", f"{text}; pair the seeds, or give {FEWEST_UNPAIRED} or more"))
    if 0.25**seeds > level:
        # every seed of one passes, none of the other's: the clearest case there is
        needed = math.ceil(math.log(level) / math.log(0.25))
        found.append(
            LintFinding(
                "outcomes",
                "warning",
                f"with {seeds} seeds it cannot be shown that one backbone passes the bar more often than another "
                f"(at best p = {0.25**seeds:.3f}, needed {level:.3f}): if any backbone is eliminated, no winner can be "
                f"named; it takes {needed} seeds",
            )
        )
    if rule.loss_margin == 0:
        found.append(
            LintFinding(
                "outcomes",
                "error",
                "rule.loss_margin = 0: two losses can never be shown to be equal, so speed can never decide; give a "
                "margin above 0",
            )
        )
    return found or [LintFinding("outcomes", "ok", f"every outcome of the rule can occur with {seeds} seeds")]


def _power(rule: Rule, seeds: int, backbones: int) -> list[LintFinding]:
    """What the losses can show, if they spread over seeds as stated."""
    pairs = backbones * (backbones - 1) // 2
    if not pairs or not rule.loss_margin:
        return []
    level, margin, sigma = (1 - rule.confidence) / pairs, math.log1p(rule.loss_margin), rule.sigma
    equal = power_within(0.0, sigma, seeds, margin, level)
    better, any_difference = (detectable(sigma, seeds, bound, level / 6) for bound in (margin, 0.0))
    twice = power_above(2 * margin, sigma, seeds, margin, level / 6)  # a third of the level, two-sided
    stated = f"with a spread of {sigma:g} (rule.sigma), {seeds} seeds and {pairs} {'pair' if pairs == 1 else 'pairs'}"
    found = [
        LintFinding(
            "power",
            "ok" if min(equal, twice) >= ENOUGH_POWER else "warning",
            f"{stated}: equal losses are shown to be equal within {100 * rule.loss_margin:g} % with a chance of "
            f"{equal:.2f}, a difference of twice the margin to be beyond it with {twice:.2f}"
            + ("" if min(equal, twice) >= ENOUGH_POWER else "; more seeds, or a wider margin"),
        )
    ]
    if better is not None and any_difference is not None:
        found.append(
            LintFinding(
                "detectable difference",
                "ok",
                f"{stated}: a loss has to be {100 * math.expm1(better):.1f} % higher to be shown worse than the "
                f"margin, {100 * math.expm1(any_difference):.1f} % to be shown higher at all (chance {ENOUGH_POWER:g})",
            )
        )
    return found


def _people(protocol: Protocol) -> list[LintFinding]:
    """How many people it takes."""
    votes = protocol.judge.votes
    of_one = sum(len(session) for session in sets_by_session(protocol.samples_drawn))
    needed = -(-votes // of_one)
    message = (
        f"the verdict waits for {votes} {'vote' if votes == 1 else 'votes'} a trial (judge.measure, judge.votes): "
        f"`bakeoff studio`, /judge; one person can give a trial {of_one} here, so it needs at least {needed} "
        f"{'person' if needed == 1 else 'people'}"
    )
    return [LintFinding("quality bar", "warning", message)]


def _bar(bar: Judge, real: Sequence[RealDraws]) -> list[LintFinding]:
    """Would real data pass? Distances fall with the number of samples, so the nearest measured sizes speak."""
    if bar.classes > bar.samples:
        message = f"judge.classes = {bar.classes}: {bar.samples} samples cannot show so many digits"
        return [LintFinding("quality bar", "error", message)]
    if not real:
        return []
    fewest = min(one.samples for one in real)
    if bar.samples < fewest:
        message = f"{bar.samples} samples are fewer than the judge was calibrated for ({fewest}): whether real digits"
        return [LintFinding("quality bar", "warning", f"{message} pass the bar is not known")]
    larger = [one for one in real if one.samples >= bar.samples]
    smaller = [one for one in real if one.samples <= bar.samples]
    best = min(larger, key=lambda one: one.samples) if larger else max(real, key=lambda one: one.samples)
    usual = max(smaller, key=lambda one: one.samples) if smaller else min(real, key=lambda one: one.samples)
    found = []
    for name, threshold, of_best, of_usual, sign in (
        ("recognised", bar.recognised, best.recognised[2], usual.recognised[1], 1),
        ("classes", bar.classes, best.classes[2], usual.classes[1], 1),
        ("frechet", bar.frechet, best.frechet[0], usual.frechet[1], -1),
    ):
        impossible, rare = sign * threshold > sign * of_best, sign * threshold > sign * of_usual
        if impossible and (larger or name != "frechet"):
            message = (
                f"judge.{name} = {figure(threshold)}: real digits do not pass; their best set has {figure(of_best)}"
            )
            found.append(LintFinding("quality bar", "error", f"{message} at {best.samples} samples"))
        elif rare:
            message = f"judge.{name} = {figure(threshold)}: real digits pass in less than half of the cases"
            found.append(
                LintFinding("quality bar", "warning", f"{message} (median {figure(of_usual)} at {usual.samples})")
            )
    return found or [LintFinding("quality bar", "ok", f"real digits pass it at {bar.samples} samples")]
