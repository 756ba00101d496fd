"""The rule on point evidence: means and medians as they stand, whatever their spread."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from bakeoff.protocol.scaling import Scale, cost_scale, tie_break_scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import Result, Step, Verdict, change, cost_step, percent


def find_winner(rule: Rule, scale: Scale, passing: list[str], verdict: Verdict) -> str | None:
    """Compare the backbones that pass the bar and return the winner; fills in standings, reasons and steps."""
    equal = _within_quality_margin(scale, passing, verdict.backbones, verdict.steps)
    if len(equal) == 1:
        winner = equal[0]
    else:
        winner = _by_cost(rule, scale, equal, verdict.backbones, verdict.steps) if equal else None
    if winner is not None:
        verdict.backbones[winner].reason = _why_won(rule, passing, equal, verdict.steps)
    return winner


def means(name: str, backbones: Sequence[str], results: Mapping[str, Result]) -> dict[str, float]:
    """Means of a figure over the seeds that all of them completed, so that seeds stay paired; else over their own."""
    values = {
        one: {record.seed: record.figures[name] for record in results[one].seeds if name in record.figures}
        for one in backbones
    }
    shared = set.intersection(*(set(seeds) for seeds in values.values()))
    kept = {one: [v for seed, v in seeds.items() if seed in shared or not shared] for one, seeds in values.items()}
    return {one: fmean(list_) for one, list_ in kept.items() if list_}


def _within_quality_margin(scale: Scale, names: list[str], results: dict[str, Result], steps: list[Step]) -> list[str]:
    """Those that are quality-equivalent to the best; none where the values cannot be compared."""
    title = scale.figure.title
    known = means(scale.figure.name, names, results)
    if not known:  # nothing to compare: all stay equal
        return names
    scaled = {name: scale.scaled(value) for name, value in known.items()}
    if zeros := [name for name, value in scaled.items() if value is None]:
        for name in names:
            results[name].reason = ratio_of_zeros(scale, zeros)
        flips = 'rule.scale = "difference"'
        steps.append(Step("quality", f"{title} margin", ", ".join(zeros), 0.0, None, "a ratio of zeros", None, flips))
        return []
    order = {name: value for name, value in scaled.items() if value is not None}
    best = min(order, key=lambda name: order[name])
    threshold = scale.threshold(known[best])
    equal = []
    for name in names:
        value = known.get(name)
        within = value is not None and scale.within(value, known[best])
        distance = None if value is None or name == best else change(value, threshold)
        further = "higher" if within == (scale.sign > 0) else "lower"
        steps.append(
            Step(
                "quality",
                f"{title} margin",
                name,
                observed=value,
                threshold=threshold,
                outcome="best" if name == best else "equivalent" if within else "lost",
                distance=distance,
                flips="" if distance is None else f"a {title} {percent(distance)} {further}",
            )
        )
        if within:
            equal.append(name)
        else:
            apart = f"{title} {scale.worse_by(order[name] - order[best])} {best}'s" if name in order else ""
            results[name].outcome = "lost"
            results[name].reason = f"{apart or f'no {title} known'} (margin {scale.margin_words})"
    return equal


def ratio_of_zeros(scale: Scale, names: Sequence[str]) -> str:
    """Why nothing can be said."""
    return f"a ratio of zeros: the {scale.figure.title} of {', '.join(names)} is not above 0, so no ratio compares it"


def _by_cost(rule: Rule, quality: Scale, names: list[str], results: dict[str, Result], steps: list[Step]) -> str | None:
    scale = cost_scale(rule)
    costs = {name: cost for name in names if (cost := results[name].costs.get(rule.cost)) is not None}
    if len(costs) < len(names):
        steps.append(not_measured(scale, [name for name in names if name not in costs]))
        for name in names:
            results[name].reason = f"quality-equivalent; {scale.figure.title} not measured"
        return None
    cheapest = min(costs, key=lambda name: costs[name])
    tied = [name for name in names if scale.within(costs[name], costs[cheapest])]
    for name in names:
        if name == cheapest:
            continue
        steps.append(cost_step(scale, name, costs[name], cheapest, costs[cheapest]))
        if name not in tied:
            results[name].outcome = "lost"
            results[name].reason = dearer(scale, costs[name], cheapest, costs[cheapest])
    return cheapest if len(tied) == 1 else _break_ties(rule, quality, tied, results, steps)


def not_measured(scale: Scale, names: Sequence[str]) -> Step:
    title = scale.figure.title
    flips = f"measuring every candidate's {title}"
    return Step("cost", f"{title} margin", ", ".join(names), None, None, f"{title} not measured", None, flips)


def dearer(scale: Scale, cost: float, cheapest: str, least: float) -> str:
    """Why a quality-equivalent backbone is behind."""
    above = f"{100 * (cost / least - 1):.1f} % above" if least else "above"
    return f"quality-equivalent, but its {scale.figure.title} is {above} {cheapest}'s"


def _break_ties(
    rule: Rule, quality: Scale, names: list[str], results: dict[str, Result], steps: list[Step]
) -> str | None:
    last = tie_break_scale(rule)
    for criterion, scale, value in (
        (f"better {quality.figure.title}", quality, lambda result: result.figures.get(rule.quality)),
        (f"lower {last.figure.title}", last, lambda result: result.costs.get(rule.tie_break)),
    ):
        known = {name: figure for name in names if (figure := value(results[name])) is not None}
        if len(known) < len(names):
            continue
        best = min(known.values(), key=lambda one, sign=scale.sign: sign * one)
        leaders = [name for name in names if known[name] == best]
        for name in names:
            leads = name in leaders
            others = [known[other] for other in names if other != name]
            nearest = min(others, key=lambda one, sign=scale.sign: sign * one)
            distance = change(known[name], nearest)
            steps.append(
                Step(
                    "tie_break",
                    criterion,
                    name,
                    observed=known[name],
                    threshold=nearest,
                    outcome="leads" if leads else "behind",
                    distance=distance,
                    flips="" if distance is None else f"{percent(distance)} {'more' if leads else 'less'}",
                )
            )
            if not leads:
                results[name].outcome = "lost"
                results[name].reason = f"equal in quality and cost, behind in the tie-break: {criterion}"
        names = leaders
        if len(names) == 1:
            return names[0]
    for name in names:
        results[name].outcome = "tied"
        results[name].reason = f"equal in quality, {cost_scale(rule).figure.title} and {last.figure.title}"
    return None


def _why_won(rule: Rule, passing: list[str], equal: list[str], steps: list[Step]) -> str:
    if len(passing) == 1:
        return "the only backbone that passes the quality bar"
    if len(equal) == 1:
        return "no other backbone that passes the bar is within the quality margin"
    if steps[-1].kind == "cost":
        title = cost_scale(rule).figure.title
        return f"lowest {title} of {len(equal)} quality-equivalent backbones by more than the cost margin"
    return f"equal in quality and cost to the others left; {steps[-1].criterion}"
