"""Statistics at few seeds: the seed is the unit. Pure functions of per-seed values, with SciPy's distributions.

At three seeds a percentile bootstrap's nominal 95 % interval covers 75 %, and a sign-flip test cannot go below
p = 0.125; t-intervals on per-seed differences hold what they promise (`scripts/simulate.py` counts it).

A share of test items has a second error, that of the items. They may be the same for all seeds, and then no number of
seeds makes it smaller; seeds whose shares all agree, as at 1.000, do not show it either. So differences of shares carry
`item_stderr`, and every claim must hold against both: the spread over seeds alone, and seeds and items together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

MOST_SEEDS = 1000
MOST_TRIED = 40  # for shares of passes, whose test is slow at many
ENOUGH_POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The mean of a - b over seeds, and how well it is known.

    Attributes:
        seeds: of each side; the smaller number if they differ.
        mean: of a minus that of b.
        spread: standard deviation of one seed's difference.
        stderr: of the mean.
        freedom: degrees of freedom of its t-distribution; 0 if there are too few seeds for one.
        correlation: Pearson's, between a and b over paired seeds; None where it is not defined.
        item_stderr: of the mean, from the number of test items behind two shares; 0 for what is no share of items.
    """

    seeds: int
    mean: float
    spread: float
    stderr: float
    freedom: float
    correlation: float | None = None
    item_stderr: float = 0.0

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided t-interval of the mean: the wider of the two that `_errors` allows."""
        if not self.freedom:
            return -math.inf, math.inf
        half = max(_quantile(freedom, (1 + confidence) / 2) * stderr for stderr, freedom in self._errors())
        return self.mean - half, self.mean + half

    def p_below(self, bound: float) -> float:
        """One-sided p-value against "the true mean is at least `bound`"."""
        return self._tail(self.mean - bound)

    def p_above(self, bound: float) -> float:
        """One-sided p-value against "the true mean is at most `bound`"."""
        return self._tail(bound - self.mean)

    def p_within(self, margin: float) -> float:
        """Two one-sided tests (Schuirmann 1987) against "the true mean is `margin` or more away from zero"."""
        return max(self.p_below(margin), self.p_above(-margin))

    def p_nonzero(self) -> float:
        """Two-sided p-value against "the true mean is zero"."""
        return min(1.0, 2 * min(self.p_below(0), self.p_above(0)))

    def _errors(self) -> list[tuple[float, float]]:
        """(standard error, degrees of freedom): of the spread over seeds; and, for shares, with that of the items.

        The variances add. The items' is not estimated from seeds, so that Welch and Satterthwaite's degrees of freedom
        are f (v + w)^2 / v^2, with v of the seeds and w of the items.
        """
        errors = [(self.stderr, self.freedom)]
        if self.item_stderr:
            both = math.hypot(self.stderr, self.item_stderr)
            part = (self.stderr / both) ** 4
            errors.append((both, self.freedom / part if part else math.inf))
        return errors

    def _tail(self, distance: float) -> float:
        """P(T <= distance in standard errors), the larger of the two that `_errors` allows."""
        if not self.freedom:
            return 1.0
        return max(_tail(distance, stderr, freedom) for stderr, freedom in self._errors())


def share_stderr(shares: Sequence[float], items: Sequence[int]) -> float:
    """Standard error of a sum or difference of shares of independent sets of items.

    The square root of the sum of p (1 - p) / n, each p drawn in by two successes and two failures (Agresti and Coull
    1998), so that a share of exactly 0 or 1 has an error as well. It is an upper bound: a share that is the mean over
    several seeds is not taken for more items, since all seeds may see the same ones, and two backbones that see the
    same items tend to err on the same.
    """
    drawn_in = [(share * n + 2) / (n + 4) for share, n in zip(shares, items, strict=True)]
    return math.sqrt(sum(p * (1 - p) / n for p, n in zip(drawn_in, items, strict=True)))


def _quantile(freedom: float, probability: float) -> float:
    return float(special.ndtri(probability) if math.isinf(freedom) else special.stdtrit(freedom, probability))


def _tail(distance: float, stderr: float, freedom: float) -> float:
    if not stderr:
        return 0.0 if distance < 0 else 1.0
    z = distance / stderr
    return float(special.ndtr(z) if math.isinf(freedom) else special.stdtr(freedom, z))


def wilson(hits: float, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share, from `hits` among `of` [Wilson 1927]; (0, 1) where there are none.

    Of a mean of shares, whose sum is `hits`, it is no narrower than it should be: they spread less than hits do.
    """
    if not of:
        return 0.0, 1.0
    z, share = float(special.ndtri(0.5 + confidence / 2)), hits / of
    middle, room = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    scale = 1 + z * z / of
    return max(0.0, (middle - room) / scale), min(1.0, (middle + room) / scale)


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """a[i] and b[i] come from the same seed: the same data order, noise and times."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or not len(x):
        raise ValueError(f"paired values must be as many on both sides and at least one; given {len(x)} and {len(y)}")
    n, differences = len(x), x - y
    spread = float(differences.std(ddof=1)) if n > 1 else 0.0
    return Difference(n, float(differences.mean()), spread, spread / math.sqrt(n), n - 1, _correlation(x, y))


def unpaired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Independent sets of values; unequal variances (Welch 1947)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not len(x) or not len(y):
        raise ValueError(f"each side needs a value; given {len(x)} and {len(y)}")
    mean, n = float(x.mean() - y.mean()), min(len(x), len(y))
    if n < 2:
        return Difference(n, mean, 0.0, 0.0, 0)
    vx, vy = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    stderr = math.sqrt(vx + vy)
    if not stderr:
        return Difference(n, mean, 0.0, 0.0, len(x) + len(y) - 2)
    # Welch-Satterthwaite, in shares of the whole so that tiny variances do not underflow
    px, py = vx / (vx + vy), vy / (vx + vy)
    freedom = 1 / (px**2 / (len(x) - 1) + py**2 / (len(y) - 1))
    return Difference(n, mean, stderr * math.sqrt(n), stderr, freedom)


def mean_interval(values: Sequence[float], confidence: float, item_stderr: float = 0.0) -> tuple[float, float] | None:
    """Two-sided t-interval of a mean, no narrower than the test items allow; None for fewer than two values."""
    if len(values) < 2:
        return None
    return replace(paired_difference(values, [0.0] * len(values)), item_stderr=item_stderr).interval(confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979): reject those at or under the level, as if each stood alone."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@lru_cache(maxsize=1024)
def p_passes_more(passed: int, of: int, other_passed: int, of_other: int) -> float:
    """One-sided p-value against "the first passes no more often than the second" (Boschloo 1970).

    Exact and unconditional: Fisher's test cannot go below 0.05 at three seeds against three.
    """
    if passed * of_other <= other_passed * of:
        return 1.0
    from scipy.stats import boschloo_exact  # slow to import, and mostly not needed

    table = [[passed, other_passed], [of - passed, of_other - other_passed]]
    return min(1.0, float(boschloo_exact(table, alternative="greater").pvalue))


def power_above(mean: float, spread: float, seeds: int, bound: float, level: float) -> float:
    """Chance to show at `level` that a paired difference with this true mean lies above `bound` (noncentral t)."""
    if seeds < 2:
        return 0.0
    if not spread:
        return float(mean > bound)
    freedom, shift = seeds - 1, (mean - bound) * math.sqrt(seeds) / spread
    reached = special.nctdtr(freedom, shift, special.stdtrit(freedom, 1 - level))
    if math.isnan(reached):  # far out, where the series of the noncentral t gives up
        return float(shift > 0)
    return float(1 - reached)


def power_within(mean: float, spread: float, seeds: int, margin: float, level: float) -> float:
    """Chance to show at `level` that a paired difference lies within the margin; a lower bound (Bonferroni)."""
    upper = power_above(-mean, spread, seeds, -margin, level)
    lower = power_above(mean, spread, seeds, -margin, level)
    return max(0.0, upper + lower - 1)


def detectable(spread: float, seeds: int, bound: float, level: float, power: float = ENOUGH_POWER) -> float | None:
    """Smallest true mean that is shown to lie above `bound` with this chance; None where no mean would be."""
    if seeds < 2:
        return None
    low, high = bound, bound + max(spread, 1e-12)
    while power_above(high, spread, seeds, bound, level) < power:
        low, high = high, bound + 2 * (high - bound)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power_above(middle, spread, seeds, bound, level) >= power else (middle, high)
    return high


def seeds_to_pass_more(share: float, other: float, seeds: int, level: float) -> int | None:
    """How many seeds would show at `level`, at these shares of passes, that the first passes more often.

    None if it would take more than are tried.
    """
    if share <= other:
        return None
    tried = range(seeds + 1, MOST_TRIED + 1)
    return next((n for n in tried if p_passes_more(round(n * share), n, round(n * other), n) <= level), None)


def seeds_to_settle(difference: Difference, margin: float, beyond: float, within: float) -> int | None:
    """How many seeds would show what the observed mean and spread suggest, with a power of 0.8; None beyond 1000.

    "Better by more than the margin", two-sided at the level `beyond`, if the mean lies beyond it; else "equivalent
    within it", at the level `within`. Reckoned as for paired seeds; unpaired ones need about one seed less. The error
    of test items is the same at any number of seeds, so that it may take more items instead.
    """
    if not difference.freedom:
        return None

    def enough(seeds: int) -> bool:
        mean, spread = abs(difference.mean), math.hypot(difference.spread, math.sqrt(seeds) * difference.item_stderr)
        if mean > margin:
            return power_above(mean, spread, seeds, margin, beyond / 2) >= ENOUGH_POWER
        return power_within(mean, spread, seeds, margin, within) >= ENOUGH_POWER

    low, high = difference.seeds, MOST_SEEDS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 3:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(dx @ dx)) * math.sqrt(float(dy @ dy))
    return min(1.0, max(-1.0, float(dx @ dy) / scale)) if scale else None
