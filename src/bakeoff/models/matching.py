"""Matching of sizes: changes one width factor per backbone until its parameter count meets the budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bakeoff.errors import BakeoffError

STEP = 8  # widths are multiples of the vector width
LARGEST = 4096  # steps; a larger budget is a typing error


@dataclass(frozen=True)
class Fit:
    """A backbone at the width nearest to the budget."""

    name: str
    widths: dict[str, int]
    factor: float
    params: int


def fit_width(
    name: str,
    nominal: Mapping[str, int],
    elastic: Sequence[str],
    count: Callable[[Mapping[str, int]], int],
    budget: int,
) -> Fit:
    """Widens all elastic mixers by one factor, so that `count(widths)` is as near to the budget as possible.

    Args:
        nominal: width of each kind of mixer at factor 1.
        elastic: the kinds that the factor widens; the others keep their nominal width.
        count: parameters of the whole model at given widths; grows with each of them.
    """
    if not elastic:
        return Fit(name, dict(nominal), 1.0, count(nominal))
    smallest = min(nominal[kind] for kind in elastic)

    def fit(step: int) -> Fit:
        factor = step * STEP / smallest
        widened = {kind: STEP * max(1, round(factor * nominal[kind] / STEP)) for kind in elastic}
        widths = {**nominal, **widened}
        return Fit(name, widths, factor, count(widths))

    low, high = 1, 2
    while high < LARGEST and fit(high).params < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if fit(middle).params < budget:
            low = middle
        else:
            high = middle
    return min(fit(low), fit(high), key=lambda candidate: abs(candidate.params - budget))


def check_match(fits: Sequence[Fit], budget: int, tolerance: float) -> None:
    """Refuses backbones whose nearest counts differ by more than the tolerance, or that all miss the budget.

    Raises:
        BakeoffError: the counts do not match; the message gives the nearest reachable count of every backbone.
    """
    counts = [fit.params for fit in fits]
    ratio = max(*counts, budget) / min(*counts, budget)
    if ratio > tolerance:
        reachable = "; ".join(f"{fit.name}: {fit.params:,} at {_widths(fit)}" for fit in fits)
        raise BakeoffError(
            f"budget.params = {budget:,}: the parameter counts cannot be matched: the largest of counts and "
            f"budget is {ratio:.3f} times the smallest, allowed is {tolerance:g} (budget.tolerance).\n"
            f"Nearest reachable: {reachable}.\nChange the budget, model.d_model or the repeats of a backbone."
        )


def _widths(fit: Fit) -> str:
    return ", ".join(f"{kind} width {width}" for kind, width in fit.widths.items())
