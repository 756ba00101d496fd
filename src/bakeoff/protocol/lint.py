"""Checks of a plan before it is sealed: is the comparison matched, and can the rule decide what it is asked?

Errors refuse the plan; warnings are printed and sealed with it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from bakeoff.protocol.figures import HELD_OUT, Figure, known_figures
from bakeoff.protocol.scaling import Scale, quality_scale
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.bar import Bar
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import detectable, power_above, power_within, share_stderr
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
    objective: str = ""


class RealDraws(NamedTuple):
    """How real, held-out items come out: minimum, median and maximum of every figure over several sets of one size."""

    samples: int
    figures: Mapping[str, tuple[float, float, float]]


def lint(
    protocol: Protocol,
    counts: Mapping[str, Counts],
    real: Sequence[RealDraws],
    figures: Mapping[str, Figure] | None = None,
    items: int | None = None,
) -> list[LintFinding]:
    """All checks, those that hold included, in the order a reader asks them.

    Args:
        figures: those of the task, the loss among them; those of a built-in task are known.
        items: test items behind the figure that decides, where it is a share of them.

    Raises:
        BakeoffError: the bar or the rule names a figure that the task does not have.
    """
    rule, seeds = protocol.rule, len(protocol.seeds)
    figures = known_figures({}, protocol.task.kind) if figures is None else figures
    protocol.bar.check_thresholds(figures)
    rule.check_quality(figures)
    scale, pairs = quality_scale(rule, figures[rule.quality]), pairs_compared(protocol)
    return [
        *_matches(protocol, counts),
        *_objectives(rule, counts),
        *_sweep(protocol),
        *_difficulty(protocol),
        *_division(protocol),
        *_outcomes(rule, scale, seeds, len(protocol.backbones)),
        *(_power(rule, scale, seeds, pairs) if rule.evidence == "seeds" and seeds > 1 else []),
        *(_items(scale, items) if scale.figure.share and items else []),
        *(_people(protocol) if protocol.bar.measure == "human" else _bar(protocol.bar, figures, real)),
    ]


def pairs_compared(protocol: Protocol) -> int:
    """With the reference, or all with all."""
    backbones = len(protocol.backbones)
    return backbones - 1 if protocol.rule.against is not None else backbones * (backbones - 1) // 2


def _objectives(rule: Rule, counts: Mapping[str, Counts]) -> list[LintFinding]:
    """Losses of different objectives are different quantities."""
    objectives = list(dict.fromkeys(one.objective for one in counts.values()))
    if len(objectives) < 2:
        return []
    listed = ", ".join(objectives)
    if rule.groups is None and rule.quality in ("loss", HELD_OUT.name):
        message = (
            f"losses of different objectives ({listed}) cannot be compared; set rule.quality to a figure of the "
            'samples, or rule.groups = "objective" to decide within each'
        )
        return [LintFinding("objectives", "error", message)]
    how = "decided within each" if rule.groups else f"compared by {rule.quality}"
    return [LintFinding("objectives", "ok", f"{listed}: {how}")]


def _sweep(protocol: Protocol) -> list[LintFinding]:
    """What each backbone may choose, and whether what an earlier run found still holds."""
    if (sweep := protocol.sweep) is None:
        return []
    values = ", ".join(f"{value:g}" for value in sweep.values)
    if (found := protocol.swept) is None:
        count = len(protocol.to_try) * len(protocol.backbones)
        seeds, judged = "seed", "lowest held-out loss"
        if sweep.more_seeds:
            seeds, judged = "seeds", "lowest mean of their held-out losses"
        message = (
            f"{count} trials come first, at {sweep.key} = {values} and on {seeds} {', '.join(map(str, sweep.seeds))}: "
            f"each backbone keeps the value of its {judged}"
        )
        return [LintFinding("sweep", "ok", message)]
    chosen = ", ".join(f"{name} {one.value:g}" for name, one in found.choices.items())
    findings = [LintFinding("sweep", "ok", f"{sweep.key}, of {values}, by an earlier run's held-out loss: {chosen}")]
    findings += [LintFinding("sweep", "warning", message) for message in found.warnings()]
    if sweep.found is not None and sweep.found.recipe != protocol.recipe:
        message = (
            f"the values of {sweep.key} were found for another recipe; they may not be the best of this one: have the "
            "sweep run again (--set sweep.found=none), or remove it (--set sweep=none)"
        )
        findings.append(LintFinding("sweep", "warning", message))
    return findings


def _difficulty(protocol: Protocol) -> list[LintFinding]:
    """A task that a model may learn by heart shows that the chain runs, not who is better."""
    easy = getattr(protocol.task, "easy", "")
    if not easy or "smoke" in protocol.name:
        return []
    return [LintFinding("difficulty", "warning", f"{easy}: a model may learn the set by heart; call it smoke")]


def _division(protocol: Protocol) -> list[LintFinding]:
    """What is read off a network's answer by dividing by nearly nothing is wrong where the network errs at all."""
    why = dict.fromkeys(getattr(protocol.of(one).objective, "divides", "") for one in protocol.backbones)
    return [LintFinding("prediction", "warning", one) for one in why if one]


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


def _outcomes(rule: Rule, scale: Scale, seeds: int, backbones: int) -> list[LintFinding]:
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
    if rule.quality_margin == 0:
        message = (
            f"rule.quality_margin = 0: two values of the {scale.figure.title} can never be shown to be equal, so the "
            "cost can never decide; give a margin above 0"
        )
        found.append(LintFinding("outcomes", "error", message))
    return found or [LintFinding("outcomes", "ok", f"every outcome of the rule can occur with {seeds} seeds")]


def _power(rule: Rule, scale: Scale, seeds: int, pairs: int) -> list[LintFinding]:
    """What the figure that decides can show, if it spreads over seeds as stated."""
    if not pairs or not scale.margin:
        return []
    level, margin, sigma, title = (1 - rule.confidence) / pairs, scale.bound, rule.sigma, scale.figure.title
    equal = power_within(0.0, sigma, seeds, margin, level)
    better, any_difference = (detectable(sigma, seeds, bound, level / 6) for bound in (margin, 0.0))
    twice = power_above(2 * margin, sigma, seeds, margin, level / 6)  # a third of the level, two-sided
    stated = f"with a spread of {sigma:g} (rule.sigma), {seeds} seeds and {pairs} {'pair' if pairs == 1 else 'pairs'}"
    enough = min(equal, twice) >= ENOUGH_POWER
    found = [
        LintFinding(
            "power",
            "ok" if enough else "warning",
            f"{stated}: an equal {title} is shown to be equal within {scale.margin_words} with a chance of "
            f"{equal:.2f}, a difference of twice the margin to be beyond it with {twice:.2f}"
            + ("" if enough else "; more seeds, or a wider margin"),
        )
    ]
    if better is not None and any_difference is not None:
        message = (
            f"{stated}: the {title} has to be {scale.apart(better)} worse to be shown worse than the margin, "
            f"{scale.apart(any_difference)} to be shown worse at all (chance {ENOUGH_POWER:g})"
        )
        found.append(LintFinding("detectable difference", "ok", message))
    return found


def _items(scale: Scale, items: int) -> list[LintFinding]:
    """Whether the test items are enough to tell shares apart by the margin, at any number of seeds."""
    error = share_stderr([0.5, 0.5], [items, items])
    message = (
        f"{items} test items: two shares near one half differ by chance by {error:.3g} (standard error), whatever the "
        f"number of seeds; the margin is {scale.margin_words}"
    )
    enough = 2 * error <= scale.margin
    more = "" if enough else "; equal shares in the middle are hardly ever shown equal: more items, or a wider margin"
    return [LintFinding("test items", "ok" if enough else "warning", message + more)]


def _people(protocol: Protocol) -> list[LintFinding]:
    """How many people it takes."""
    votes = protocol.bar.votes
    of_one = sum(len(session) for session in sets_by_session(protocol.samples_drawn))
    needed = -(-votes // of_one)
    message = (
        f"the verdict waits for {votes} {'vote' if votes == 1 else 'votes'} a trial (bar.measure, bar.votes): "
        f"`bakeoff studio`, /judge; one person can give a trial {of_one} here, so it needs at least {needed} "
        f"{'person' if needed == 1 else 'people'}"
    )
    return [LintFinding("quality bar", "warning", message)]


def _bar(bar: Bar, figures: Mapping[str, Figure], real: Sequence[RealDraws]) -> list[LintFinding]:
    """Would real data pass? Figures of a set depend on its size, so the nearest measured sizes speak."""
    if not bar.thresholds:
        message = "no threshold (bar.thresholds): every trial that is completed passes"
        return [LintFinding("quality bar", "warning", message)]
    for name, threshold in bar.thresholds.items():
        if figures[name].counts and threshold > bar.samples:
            message = f"bar.thresholds.{name} = {threshold:g}: {bar.samples} samples cannot show so many"
            return [LintFinding("quality bar", "error", message)]
    if not real:
        return []
    fewest = min(one.samples for one in real)
    if bar.samples < fewest:
        message = f"{bar.samples} samples are fewer than the figures were calibrated for ({fewest}): whether real items"
        return [LintFinding("quality bar", "warning", f"{message} pass the bar is not known")]
    larger = [one for one in real if one.samples >= bar.samples]
    smaller = [one for one in real if one.samples <= bar.samples]
    best = min(larger, key=lambda one: one.samples) if larger else max(real, key=lambda one: one.samples)
    usual = max(smaller, key=lambda one: one.samples) if smaller else min(real, key=lambda one: one.samples)
    found = []
    for name, threshold in bar.thresholds.items():
        one, key = figures[name], f"bar.thresholds.{name} = {figure(threshold)}"
        if name not in best.figures or name not in usual.figures:
            found.append(LintFinding("quality bar", "warning", f"{key}: how real items come out was not calibrated"))
            continue
        of_best = best.figures[name][2 if one.better == "higher" else 0]
        of_usual = usual.figures[name][1]
        # beyond the largest size that was measured, a figure that falls or rises with the size may be reached after all
        if not one.meets(of_best, threshold) and (larger or one.of == "items"):
            message = f"{key}: real items do not pass; their best set has {figure(of_best)} at {best.samples} samples"
            found.append(LintFinding("quality bar", "error", message))
        elif not one.meets(of_usual, threshold):
            message = f"{key}: real items pass in less than half of the cases"
            median = f"(median {figure(of_usual)} at {usual.samples})"
            found.append(LintFinding("quality bar", "warning", f"{message} {median}"))
    return found or [LintFinding("quality bar", "ok", f"real items pass it at {bar.samples} samples")]
