"""The decision rule: a pure function from evidence to a verdict that holds every step of its reasoning.

(a) A backbone that fails the quality bar in the majority of its seeds is eliminated; a diverged trial fails.
(b) Those within the loss margin of the best loss are quality-equivalent; the others lose.
(c) Among these the fastest wins if it leads by more than the speed margin; otherwise, among those within the
    speed margin of the fastest, the better loss wins, and at equal loss the lower memory.

With `evidence = "point"` (b) and (c) read the means as they stand, and the verdict is indicative; with "seeds" each
comparison has to hold against the spread over seeds (`bakeoff.protocol.pairwise`).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from bakeoff.protocol import pairwise
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import Result, Step, Verdict, change, figure, percent, speed_step, summarise


def decide(rule: Rule, evidence: Sequence[Evidence], planned: Mapping[str, Sequence[int]]) -> Verdict:
    """Apply the rule.

    Args:
        evidence: one record a finished trial.
        planned: the frozen seed list of every backbone; while trials are missing, or wait for human judgements, the
            outcome is "incomplete", and `so_far` holds the rule's answer on the seeds that all backbones have finished.
    """
    by_trial = {(record.backbone, record.seed): record for record in evidence}
    ready = {trial: record for trial, record in by_trial.items() if record.waits_for is None}
    if any((name, seed) not in ready for name, seeds in planned.items() for seed in seeds):
        return _incomplete(rule, by_trial, ready, planned)
    results = {
        name: summarise([by_trial[name, seed] for seed in seeds], rule.confidence) for name, seeds in planned.items()
    }
    verdict = Verdict("inconclusive", None, rule.evidence == "point", results, [])
    if verdict.indicative:
        one = min(len(seeds) for seeds in planned.values()) < 2
        verdict.notes.append("one seed: indicative only" if one else "point evidence: indicative only")
    passing = [name for name, result in results.items() if _passes_bar(name, result, verdict.steps)]
    if not passing:
        verdict.outcome = "all_eliminated"
        return verdict
    find_winner = _by_points if rule.evidence == "point" else pairwise.find_winner
    verdict.winner = find_winner(rule, passing, verdict)
    if verdict.winner is not None:
        verdict.outcome, results[verdict.winner].outcome = "winner", "won"
    return verdict


def _by_points(rule: Rule, passing: list[str], verdict: Verdict) -> str | None:
    """(b) and (c) on the means as they stand."""
    equal = _within_loss_margin(rule, passing, verdict.backbones, verdict.steps)
    winner = equal[0] if len(equal) == 1 else _by_speed(rule, equal, verdict.backbones, verdict.steps)
    if winner is not None:
        verdict.backbones[winner].reason = _why_won(passing, equal, verdict.steps)
    return winner


def _passes_bar(name: str, result: Result, steps: list[Step]) -> bool:
    for record in result.seeds:
        if not record.completed:
            steps.append(
                Step(
                    "quality bar, one seed",
                    f"{name}-s{record.seed}",
                    "diverged",
                    "completed",
                    "fail",
                    None,
                    "",
                )
            )
        steps.extend(_bar_step(f"{name}-s{record.seed}", check) for check in record.checks)
    total, failed = len(result.seeds), len(result.seeds) - result.seeds_passed
    passes = 2 * failed <= total
    most = total // 2  # failed seeds that are still no majority
    margin = abs(failed - most) + (1 if passes else 0)
    steps.append(
        Step(
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
        f"quality bar, one seed: {check.name}",
        trial,
        check.observed,
        check.threshold,
        "pass" if check.passed else "fail",
        distance,
        f"{check.name} reaching {figure(check.threshold)}" if not check.passed else "",
    )


def _within_loss_margin(rule: Rule, names: list[str], results: dict[str, Result], steps: list[Step]) -> list[str]:
    known = _comparable_losses(names, results)
    if not known:  # nothing to compare: all stay equal
        return names
    best = min(known, key=lambda name: known[name])
    threshold = known[best] * (1 + rule.loss_margin)
    equal = []
    for name in names:
        loss = known.get(name)
        within = loss is not None and loss <= threshold
        distance = None if loss is None or name == best else change(loss, threshold)
        steps.append(
            Step(
                "loss margin",
                name,
                observed=loss,
                threshold=threshold,
                outcome="best" if name == best else "equivalent" if within else "lost",
                distance=distance,
                flips="" if distance is None else f"a loss {percent(distance)} {'higher' if within else 'lower'}",
            )
        )
        if within:
            equal.append(name)
        else:
            more = "no loss known" if loss is None else f"loss {100 * (loss / known[best] - 1):.1f} % above {best}"
            results[name].outcome, results[name].reason = (
                "lost",
                f"{more} (margin {100 * rule.loss_margin:g} %)",
            )
    return equal


def _by_speed(rule: Rule, names: list[str], results: dict[str, Result], steps: list[Step]) -> str | None:
    times = {name: time for name in names if (time := results[name].step_time_ms) is not None}
    if len(times) < len(names):
        unknown = ", ".join(name for name in names if name not in times)
        steps.append(
            Step(
                "speed margin",
                unknown,
                None,
                None,
                "speed not measured",
                None,
                "measuring every candidate's speed",
            )
        )
        for name in names:
            results[name].reason = "quality-equivalent; speed not measured"
        return None
    fastest = min(times, key=lambda name: times[name])
    threshold = times[fastest] * (1 + rule.speed_margin)
    tied = [name for name in names if times[name] <= threshold]
    for name in names:
        if name == fastest:
            continue
        steps.append(speed_step(name, times[name], fastest, times[fastest], rule.speed_margin))
        if name not in tied:
            lead = 100 * (times[name] / times[fastest] - 1)
            results[name].outcome = "lost"
            results[name].reason = f"quality-equivalent, but a step takes {lead:.1f} % longer than {fastest}'s"
    return fastest if len(tied) == 1 else _by_loss_then_memory(tied, results, steps)


def _by_loss_then_memory(names: list[str], results: dict[str, Result], steps: list[Step]) -> str | None:
    for criterion, value in (
        ("better loss", lambda result: result.loss),
        ("lower memory", lambda result: result.peak_memory_mb),
    ):
        known = {name: figure for name in names if (figure := value(results[name])) is not None}
        if len(known) < len(names):
            continue
        best = min(known.values())
        leaders = [name for name in names if known[name] == best]
        for name in names:
            leads = name in leaders
            others = [known[other] for other in names if other != name]
            distance = change(known[name], min(others))
            steps.append(
                Step(
                    criterion,
                    name,
                    observed=known[name],
                    threshold=min(others),
                    outcome="leads" if leads else "behind",
                    distance=distance,
                    flips="" if distance is None else f"{percent(distance)} {'more' if leads else 'less'}",
                )
            )
            if not leads:
                results[name].outcome = "lost"
                results[name].reason = f"equal in quality and speed, behind in the tie-break: {criterion}"
        names = leaders
        if len(names) == 1:
            return names[0]
    for name in names:
        results[name].outcome, results[name].reason = "tied", "equal in quality, speed, loss and memory"
    return None


def _why_won(passing: list[str], equal: list[str], steps: list[Step]) -> str:
    if len(passing) == 1:
        return "the only backbone that passes the quality bar"
    if len(equal) == 1:
        return "no other backbone that passes the bar is within the loss margin"
    decided_by = steps[-1].criterion
    if decided_by == "speed margin":
        return f"fastest of {len(equal)} quality-equivalent backbones by more than the speed margin"
    return f"equal in quality and speed to the others left; {decided_by}"


def _incomplete(
    rule: Rule,
    by_trial: Mapping[tuple[str, int], Evidence],
    ready: Mapping[tuple[str, int], Evidence],
    planned: Mapping[str, Sequence[int]],
) -> Verdict:
    shared = set.intersection(*(set(seeds) for seeds in planned.values()))
    finished = [seed for seed in shared if all((name, seed) in ready for name in planned)]
    so_far = None
    if finished:
        seeds = [seed for seed in next(iter(planned.values())) if seed in finished]
        simple = rule if len(seeds) > 1 else rule.model_copy(update={"evidence": "point"})
        so_far = decide(simple, list(ready.values()), {name: seeds for name in planned})
        so_far.indicative = True
        so_far.notes = [f"indicative: seeds {', '.join(map(str, seeds))} only"]
    results = {
        name: summarise([by_trial[name, seed] for seed in seeds if (name, seed) in by_trial], rule.confidence)
        for name, seeds in planned.items()
    }
    missing, steps = [], []
    for name, seeds in planned.items():
        lacking = []
        for seed in seeds:
            if (name, seed) not in ready:
                waits_for = by_trial[name, seed].waits_for if (name, seed) in by_trial else None
                lacking.append(part := waits_for or f"{name}-s{seed}")
                flips = "the votes that are missing" if waits_for else "finishing this trial"
                steps.append(Step("complete", part, "missing", "finished", "incomplete", None, flips))
        missing += lacking
        reason = f"not finished: {', '.join(lacking)}" if lacking else "the other backbones are not finished"
        results[name].reason = reason
    return Verdict("incomplete", None, True, results, steps, missing=missing, so_far=so_far)


def _comparable_losses(names: Sequence[str], results: Mapping[str, Result]) -> dict[str, float]:
    """Mean losses over the seeds that all of them completed, so that seeds stay paired; else over their own."""
    completed = {
        name: {record.seed: record.loss for record in results[name].seeds if record.loss is not None} for name in names
    }
    shared = set.intersection(*(set(losses) for losses in completed.values()))
    means = {}
    for name, losses in completed.items():
        kept = [loss for seed, loss in losses.items() if seed in shared or not shared]
        if kept:
            means[name] = fmean(kept)
    return means
