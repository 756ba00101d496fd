"""The decision rule: a pure function from evidence to a verdict that holds every step of its reasoning.

(a) A backbone that fails the quality bar in the majority of its seeds is eliminated; a diverged trial fails.
(b) Those within the quality margin of the best in `rule.quality` (the loss, or a figure of the task) are
    quality-equivalent; the others lose.
(c) Among these the one with the lowest `rule.cost` wins if it leads by more than the cost margin; otherwise, among
    those within this margin of it, the better quality wins, and at equal quality the lower `rule.tie_break`.

With `evidence = "point"` (b) and (c) read the means as they stand (`bakeoff.protocol.points`), and the verdict is
indicative; with "seeds" each comparison has to hold against the spread over seeds (`bakeoff.protocol.pairwise`).
With `against`, the others are compared with one declared reference, and nobody wins (`bakeoff.protocol.reference`).
With `groups`, all of this is decided within each group, and nothing is compared across them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bakeoff.protocol import pairwise, points, reference
from bakeoff.protocol.figures import COSTS, LOSS, Figure
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.scaling import quality_scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import Result, Step, Verdict, change, figure, summarise

LAW = {"loss": LOSS}


def decide(
    rule: Rule,
    evidence: Sequence[Evidence],
    planned: Mapping[str, Sequence[int]],
    figures: Mapping[str, Figure] = LAW,
) -> Verdict:
    """Apply the rule.

    Args:
        evidence: one record a finished trial.
        planned: the frozen seed list of every backbone; while trials are missing, or wait for human judgements, the
            outcome is "incomplete", and `so_far` holds the rule's answer on the seeds that all backbones have finished.
        figures: those that a trial of this task can have, by name.

    Raises:
        BakeoffError: the rule's figure is none of them, or does not fit its scale.
    """
    rule.check_quality(figures)
    by_trial = {(record.backbone, record.seed): record for record in evidence}
    ready = {trial: record for trial, record in by_trial.items() if record.waits_for is None}
    if any((name, seed) not in ready for name, seeds in planned.items() for seed in seeds):
        return _incomplete(rule, by_trial, ready, planned, figures)
    if rule.groups is not None:
        return _by_groups(rule, evidence, planned, figures)
    results = {
        name: summarise([by_trial[name, seed] for seed in seeds], rule.confidence, figures)
        for name, seeds in planned.items()
    }
    verdict = _verdict("inconclusive", rule.evidence == "point", results, rule, figures)
    if verdict.indicative:
        one = min(len(seeds) for seeds in planned.values()) < 2
        verdict.notes.append("one seed: indicative only" if one else "point evidence: indicative only")
    passing = [name for name, result in results.items() if _passes_bar(name, result, verdict.steps)]
    if not passing:
        verdict.outcome = "all_eliminated"
        return verdict
    scale = quality_scale(rule, figures[rule.quality])
    if rule.against is not None:
        reference.compare_with(rule, scale, passing, verdict)
        verdict.outcome = "compared"
        return verdict
    find_winner = points.find_winner if rule.evidence == "point" else pairwise.find_winner
    verdict.winner = find_winner(rule, scale, passing, verdict)
    if verdict.winner is not None:
        verdict.outcome, results[verdict.winner].outcome = "winner", "won"
    return verdict


def _verdict(
    outcome: Any, indicative: bool, results: dict[str, Result], rule: Rule, figures: Mapping[str, Figure], **more: Any
) -> Verdict:
    names = {name for one in results.values() for name in (*one.figures, *one.costs)}
    known = {name: one for name, one in {**figures, **COSTS}.items() if name in names}
    return Verdict(outcome, None, indicative, results, [], figures=known, quality=rule.quality, **more)


def _by_groups(
    rule: Rule,
    evidence: Sequence[Evidence],
    planned: Mapping[str, Sequence[int]],
    figures: Mapping[str, Figure],
) -> Verdict:
    """One verdict a group; each keeps the level by itself."""
    group_of, within = {record.backbone: record.group for record in evidence}, rule.model_copy(update={"groups": None})
    found = {}
    for group in dict.fromkeys(group_of[name] for name in planned):
        members = {name: seeds for name, seeds in planned.items() if group_of[name] == group}
        found[group] = decide(within, [one for one in evidence if one.backbone in members], members, figures)
    results = {name: found[group_of[name]].backbones[name] for name in planned}
    whole = _verdict("grouped", any(one.indicative for one in found.values()), results, rule, figures, groups=found)
    for one in found.values():
        whole.steps += one.steps
        whole.comparisons += one.comparisons
        whole.notes += [note for note in one.notes if note not in whole.notes]
    return whole


def _passes_bar(name: str, result: Result, steps: list[Step]) -> bool:
    for record in result.seeds:
        trial = f"{name}-s{record.seed}"
        if not record.completed:
            steps.append(Step("seed", "quality bar, one seed", trial, "diverged", "completed", "fail", None, ""))
        steps.extend(_bar_step(trial, check) for check in record.checks)
    total, failed = len(result.seeds), len(result.seeds) - result.seeds_passed
    passes = 2 * failed <= total
    most = total // 2  # failed seeds that are still no majority
    margin = abs(failed - most) + (1 if passes else 0)
    steps.append(
        Step(
            "bar",
            "quality bar",
            name,
            observed=f"{failed} of {total} seeds fail",
            threshold=f"at most {most}",
            outcome="pass" if passes else "eliminated",
            distance=margin,
            flips=f"{margin} more {'seed' if margin == 1 else 'seeds'} {'failing' if passes else 'passing'}",
        )
    )
    if not passes:
        result.outcome, result.reason = "eliminated", f"fails the quality bar in {failed} of {total} seeds"
    return passes


def _bar_step(trial: str, check: Check) -> Step:
    distance = None
    if isinstance(check.observed, int | float) and isinstance(check.threshold, int | float):
        distance = change(check.observed, check.threshold)
    return Step(
        "seed",
        f"quality bar, one seed: {check.name}",
        trial,
        check.observed,
        check.threshold,
        "pass" if check.passed else "fail",
        distance,
        f"{check.name} reaching {figure(check.threshold)}" if not check.passed else "",
    )


def _incomplete(
    rule: Rule,
    by_trial: Mapping[tuple[str, int], Evidence],
    ready: Mapping[tuple[str, int], Evidence],
    planned: Mapping[str, Sequence[int]],
    figures: Mapping[str, Figure],
) -> Verdict:
    shared = set.intersection(*(set(seeds) for seeds in planned.values()))
    finished = [seed for seed in shared if all((name, seed) in ready for name in planned)]
    so_far = None
    if finished:
        seeds = [seed for seed in next(iter(planned.values())) if seed in finished]
        simple = rule if len(seeds) > 1 else rule.model_copy(update={"evidence": "point"})
        kept = [record for record in ready.values() if record.seed in finished]
        so_far = decide(simple, kept, {name: seeds for name in planned}, figures)
        so_far.indicative = True
        so_far.notes = [f"indicative: seeds {', '.join(map(str, seeds))} only"]
    results = {
        name: summarise([by_trial[name, seed] for seed in seeds if (name, seed) in by_trial], rule.confidence, figures)
        for name, seeds in planned.items()
    }
    verdict = _verdict("incomplete", True, results, rule, figures, so_far=so_far)
    for name, seeds in planned.items():
        lacking = []
        for seed in seeds:
            if (name, seed) not in ready:
                waits_for = by_trial[name, seed].waits_for if (name, seed) in by_trial else None
                lacking.append(part := waits_for or f"{name}-s{seed}")
                flips = "the votes that are missing" if waits_for else "finishing this trial"
                verdict.steps.append(
                    Step("complete", "complete", part, "missing", "finished", "incomplete", None, flips)
                )
        verdict.missing += lacking
        reason = f"not finished: {', '.join(lacking)}" if lacking else "the other backbones are not finished"
        results[name].reason = reason
    return verdict
