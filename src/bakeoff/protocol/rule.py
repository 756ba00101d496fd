"""The decision rule: a pure function from evidence to a verdict that holds every step of its reasoning.

(a) A backbone that fails the quality bar in the majority of its seeds is eliminated; a diverged trial fails.
(b) Those within the loss margin of the best loss are quality-equivalent; the others lose.
(c) Among these the fastest wins if it leads by more than the speed margin; otherwise, among those within the
    speed margin of the fastest, the better loss wins, and at equal loss the lower memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal

from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.schema import Rule

Outcome = Literal["winner", "inconclusive", "all_eliminated", "incomplete"]
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


@dataclass
class Result:
    """How one backbone came out."""

    outcome: Standing
    reason: str
    loss: float | None
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
    so_far: "Verdict | None" = None


def decide(rule: Rule, evidence: Sequence[Evidence], planned: Mapping[str, Sequence[int]]) -> Verdict:
    """Apply the rule.

    Args:
        evidence: one record a finished trial.
        planned: the frozen seed list of every backbone; while trials are missing the outcome is
            "incomplete", and `so_far` holds the rule's answer on the seeds that all backbones have finished.
    """
    by_trial = {(record.backbone, record.seed): record for record in evidence}
    missing = [f"{name}-s{seed}" for name, seeds in planned.items() for seed in seeds if (name, seed) not in by_trial]
    if missing:
        return _incomplete(rule, by_trial, planned, missing)
    results = {name: _summary([by_trial[name, seed] for seed in seeds]) for name, seeds in planned.items()}
    steps: list[Step] = []
    indicative = min(len(seeds) for seeds in planned.values()) < 2
    notes = ["one seed: indicative only"] if indicative else []

    passing = [name for name, result in results.items() if _passes_bar(name, result, steps)]
    if not passing:
        return Verdict("all_eliminated", None, indicative, results, steps, notes)
    equal = _within_loss_margin(rule, passing, results, steps)
    winner = equal[0] if len(equal) == 1 else _by_speed(rule, equal, results, steps)
    if winner is None:
        return Verdict("inconclusive", None, indicative, results, steps, notes)
    results[winner].outcome = "won"
    results[winner].reason = _why_won(winner, passing, equal, steps)
    return Verdict("winner", winner, indicative, results, steps, notes)


def _summary(seeds: list[Evidence]) -> Result:
    return Result(
        outcome="inconclusive",
        reason="",
        loss=_mean([record.loss for record in seeds]),
        step_time_ms=_median([record.step_time_ms for record in seeds]),
        peak_memory_mb=_median([record.peak_memory_mb for record in seeds]),
        seeds_passed=sum(record.passed for record in seeds),
        seeds=seeds,
    )


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
            flips=f"{margin} {'seed' if margin == 1 else 'seeds'} {'failing' if passes else 'passing'} more",
        )
    )
    if not passes:
        result.outcome, result.reason = "eliminated", f"fails the quality bar in {failed} of {total} seeds"
    return passes


def _bar_step(trial: str, check: Check) -> Step:
    distance = None
    if isinstance(check.observed, int | float) and isinstance(check.threshold, int | float):
        distance = _change(check.observed, check.threshold)
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
        distance = None if loss is None or name == best else _change(loss, threshold)
        steps.append(
            Step(
                "loss margin",
                name,
                observed=loss,
                threshold=threshold,
                outcome="best" if name == best else "equivalent" if within else "lost",
                distance=distance,
                flips="" if distance is None else f"a loss {_percent(distance)} {'higher' if within else 'lower'}",
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
        distance = _change(times[name], threshold)
        slower = name not in tied
        steps.append(
            Step(
                "speed margin",
                name,
                observed=times[name],
                threshold=threshold,
                outcome=f"slower than {fastest}" if slower else f"speed-equivalent to {fastest}",
                distance=distance,
                flips=f"a step time {_percent(distance)} {'lower' if slower else 'higher'}",
            )
        )
        if slower:
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
            distance = _change(known[name], min(others))
            steps.append(
                Step(
                    criterion,
                    name,
                    observed=known[name],
                    threshold=min(others),
                    outcome="leads" if leads else "behind",
                    distance=distance,
                    flips="" if distance is None else f"{_percent(distance)} {'more' if leads else 'less'}",
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


def _why_won(winner: str, passing: list[str], equal: list[str], steps: list[Step]) -> str:
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
    planned: Mapping[str, Sequence[int]],
    missing: list[str],
) -> Verdict:
    shared = set.intersection(*(set(seeds) for seeds in planned.values()))
    finished = [seed for seed in shared if all((name, seed) in by_trial for name in planned)]
    so_far = None
    if finished:
        seeds = [seed for seed in next(iter(planned.values())) if seed in finished]
        so_far = decide(rule, list(by_trial.values()), {name: seeds for name in planned})
        so_far.indicative = True
        so_far.notes = [f"indicative: seeds {', '.join(map(str, seeds))} only"]
    results = {
        name: _summary([by_trial[name, seed] for seed in seeds if (name, seed) in by_trial])
        for name, seeds in planned.items()
    }
    for name, result in results.items():
        lacking = [trial for trial in missing if trial.rpartition("-s")[0] == name]
        result.reason = f"not finished: {', '.join(lacking)}" if lacking else "the other backbones are not finished"
    steps = [
        Step("complete", trial, "missing", "finished", "incomplete", None, "finishing this trial") for trial in missing
    ]
    return Verdict("incomplete", None, True, results, steps, [], missing, so_far)


def figure(value: float | str) -> str:
    """Four significant digits."""
    return value if isinstance(value, str) else f"{value:.4g}"


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


def _change(observed: float, threshold: float) -> float | None:
    """By what share `observed` must change to become `threshold`."""
    return abs(threshold / observed - 1) if observed else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
