"""The rule against one declared reference: each of the others is compared with it, and with nothing else.

A backbone is better if its quality is shown to be better by more than the margin, or if it passes the bar and is shown
to pass it more often than a reference that fails it; cheaper if its quality is shown to be equal and its cost is lower
by more than the cost margin; equal if its quality is shown to be equal and it is not cheaper; worse if its quality is
shown to be worse by more than the margin. What is not shown is inconclusive. p-values are Holm-adjusted across the
comparisons with the reference, fewer than all pairs would be.
"""

from bakeoff.protocol.pairwise import compare, passes_more_step, quality_step, settles, shared_level, unscalable
from bakeoff.protocol.points import means, ratio_of_zeros
from bakeoff.protocol.scaling import Scale, cost_scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import holm, p_passes_more
from bakeoff.protocol.verdict import Step, Verdict, cost_step


def compare_with(rule: Rule, scale: Scale, passing: list[str], verdict: Verdict) -> None:
    """Give every backbone that passes the bar its standing against `rule.against`; fills in reasons and steps."""
    reference = rule.against
    assert reference is not None
    candidates = [name for name in passing if name != reference]
    if reference not in passing:
        _against_an_eliminated(rule, reference, candidates, verdict)
        return
    verdict.backbones[reference].outcome = "reference"
    verdict.backbones[reference].reason = "what the others are compared with"
    find = _by_points if rule.evidence == "point" else _over_seeds
    for name in find(rule, scale, reference, candidates, verdict):
        _by_cost(rule, name, reference, verdict)


def _by_points(rule: Rule, scale: Scale, reference: str, candidates: list[str], verdict: Verdict) -> list[str]:
    """Standings by means as they stand; returns those that are equal in quality."""
    equal, title = [], scale.figure.title
    for name in candidates:
        result, known = verdict.backbones[name], means(scale.figure.name, [name, reference], verdict.backbones)
        if len(known) < 2:
            result.reason = f"no {title} known of both"
            continue
        scaled = {one: value for one, plain in known.items() if (value := scale.scaled(plain)) is not None}
        if len(scaled) < 2:
            result.reason = ratio_of_zeros(scale, [one for one in known if one not in scaled])
            continue
        better = scaled[name] < scaled[reference]
        ahead, behind = (name, reference) if better else (reference, name)
        within, apart = scale.within(known[behind], known[ahead]), scale.words(scaled[name] - scaled[reference])
        result.reason = f"{title} {apart} against {reference}'s (margin {scale.margin_words})"
        if within:
            equal.append(name)
        else:
            result.outcome = "better" if better else "worse"
        verdict.steps.append(
            Step(
                "quality",
                f"{title} against {reference}",
                name,
                observed=known[name],
                threshold=known[reference],
                outcome="equivalent" if within else result.outcome,
                distance=None,
                flips=f"a difference {'beyond' if within else 'within'} {scale.margin_words}",
            )
        )
    return equal


def _over_seeds(rule: Rule, scale: Scale, reference: str, candidates: list[str], verdict: Verdict) -> list[str]:
    """Standings by what is shown over seeds; returns those that are shown to be equal in quality."""
    seeds = {name: verdict.backbones[name].seeds for name in (*candidates, reference)}
    pairs = [(name, reference) for name in candidates]
    verdict.comparisons = compare(rule, scale, seeds, pairs)
    verdict.steps += [quality_step(scale, one) for one in verdict.comparisons]
    equal, title = [], scale.figure.title
    for one in verdict.comparisons:
        result = verdict.backbones[one.first]
        apart = f"{title} {scale.words(one.difference.mean)} against {reference}'s"
        if one.outcome in ("first", "second"):
            result.outcome = "better" if one.outcome == "first" else "worse"
            result.reason = f"{apart}, by more than the margin (p = {one.p_beyond:.2g})"
        elif one.outcome == "equivalent":
            equal.append(one.first)
            result.reason = f"{apart}, within the margin (p = {one.p_within:.2g})"
        elif zeros := unscalable(scale, {name: seeds[name] for name in (one.first, reference)}):
            result.reason = ratio_of_zeros(scale, zeros)
        else:
            result.reason = f"neither better nor equal is shown against {reference} (would take {settles(one)})"
    return equal


def _by_cost(rule: Rule, name: str, reference: str, verdict: Verdict) -> None:
    """Equal in quality: cheaper, or no cheaper."""
    scale, result = cost_scale(rule), verdict.backbones[name]
    title, result.outcome = scale.figure.title, "equal"
    cost, other = result.costs.get(rule.cost), verdict.backbones[reference].costs.get(rule.cost)
    if cost is None or other is None:
        result.reason += f"; {title} not measured"
        return
    low, high = (name, reference) if cost < other else (reference, name)
    verdict.steps.append(cost_step(scale, high, max(cost, other), low, min(cost, other)))
    if scale.within(max(cost, other), min(cost, other)):
        result.reason += f"; {title} equal within {scale.margin_words}"
        return
    result.outcome = "cheaper" if low == name else "equal"
    apart = f"{abs(100 * (cost / other - 1)):.1f} % " if other else ""
    result.reason += f"; {title} {apart}{'below' if low == name else 'above'} {reference}'s"


def _against_an_eliminated(rule: Rule, reference: str, candidates: list[str], verdict: Verdict) -> None:
    """The reference fails the bar: better is who is shown to pass it more often."""
    of = verdict.backbones[reference]
    passed = {name: (verdict.backbones[name].seeds_passed, len(verdict.backbones[name].seeds)) for name in candidates}
    adjusted = holm([p_passes_more(*counts, of.seeds_passed, len(of.seeds)) for counts in passed.values()])
    for name, p in zip(candidates, adjusted, strict=True):
        result, shown = verdict.backbones[name], rule.evidence == "point" or p <= shared_level(rule)
        verdict.steps.append(passes_more_step(rule, name, reference, verdict, p))
        result.outcome = "better" if shown else "inconclusive"
        result.reason = f"passes the quality bar, {reference} does not" + (
            "" if shown else f"; that it passes more often is not shown (p = {p:.3f})"
        )
