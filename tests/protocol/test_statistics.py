"""The statistics against SciPy's own tests and published examples, and by simulation."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import (
    detectable,
    holm,
    p_passes_more,
    paired_difference,
    power_above,
    power_within,
    seeds_to_settle,
    unpaired_difference,
)
from bakeoff.protocol.verdict import Verdict

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import simulate
from tiers import slow

VALUES = st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=2, max_size=12)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-1, 1)), min_size=2, max_size=12), st.floats(-1, 1))
def test_paired_p_values_and_intervals_are_scipys(pairs: list[tuple[float, float]], bound: float) -> None:
    a, b = [x for x, _ in pairs], [x + difference + 0.01 * i for i, (x, difference) in enumerate(pairs)]
    if np.std(np.subtract(a, b)) < 1e-6:  # rounding decides
        return
    one = paired_difference(a, b)
    below = stats.ttest_1samp(np.subtract(a, b), bound, alternative="less")
    above = stats.ttest_1samp(np.subtract(a, b), bound, alternative="greater")
    assert one.p_below(bound) == pytest.approx(below.pvalue, rel=1e-6, abs=1e-12)
    assert one.p_above(bound) == pytest.approx(above.pvalue, rel=1e-6, abs=1e-12)
    expected = stats.ttest_rel(a, b)
    assert one.p_nonzero() == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert one.interval(0.95) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6, abs=1e-9)


@given(VALUES, VALUES)
def test_unpaired_is_welchs_test(a: list[float], b: list[float]) -> None:
    a, b = [x + 0.01 * i for i, x in enumerate(a)], [x - 0.02 * i**2 for i, x in enumerate(b)]
    one, expected = unpaired_difference(a, b), stats.ttest_ind(a, b, equal_var=False)
    if min(np.std(a), np.std(b)) > 1e-3:
        assert one.p_nonzero() == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
        assert one.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)), rel=1e-6, abs=1e-9)


def test_holm_on_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm 1979's procedure
    assert holm([]) == [] and holm([0.7]) == [0.7] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_test_of_passing_more_often_on_scipys_published_example_and_in_closed_form() -> None:
    assert p_passes_more(74, 117, 31, 63) == pytest.approx(0.0355, abs=1e-4)  # scipy.stats.boschloo_exact
    for n in (2, 3, 5, 8):  # all against none: the likeliest chance is one half each
        assert p_passes_more(n, n, 0, n) == pytest.approx(0.25**n, rel=1e-3)
        assert p_passes_more(0, n, n, n) == 1.0 and p_passes_more(1, n, 1, n) == 1.0


@given(st.floats(-0.1, 0.1), st.floats(0.001, 0.1), st.integers(2, 30))
def test_power_is_that_of_the_noncentral_t(mean: float, spread: float, seeds: int) -> None:
    critical, shift = stats.t.isf(0.05, seeds - 1), (mean - 0.02) * math.sqrt(seeds) / spread
    assert power_above(mean, spread, seeds, 0.02, 0.05) == pytest.approx(
        float(stats.nct.sf(critical, seeds - 1, shift)), abs=1e-6
    )


@pytest.mark.parametrize("seeds,spread", [(3, 0.02), (5, 0.05), (8, 0.03)])
def test_power_to_show_equality_is_a_close_lower_bound_of_what_simulation_counts(seeds: int, spread: float) -> None:
    rng, margin = np.random.default_rng(seeds), math.log(1.1)
    draws = rng.normal(0.0, spread, size=(4000, seeds))
    counted = np.mean([paired_difference(row, [0.0] * seeds).p_within(margin) <= 0.05 for row in draws.tolist()])
    assert power_within(0.0, spread, seeds, margin, 0.05) == pytest.approx(counted, abs=0.03)


@given(st.floats(0.001, 0.2), st.integers(2, 20), st.floats(0, 0.1))
def test_the_detectable_difference_is_detected_with_that_power(spread: float, seeds: int, bound: float) -> None:
    smallest = detectable(spread, seeds, bound, 0.025)
    assert smallest is not None and power_above(smallest, spread, seeds, bound, 0.025) == pytest.approx(0.8, abs=1e-3)


def test_the_number_of_seeds_that_settles_is_the_first_with_enough_power() -> None:
    one = paired_difference([0.10, 0.02, 0.09], [0.0, 0.0, 0.0])
    for margin in (0.01, 0.05, 0.2):
        seeds = seeds_to_settle(one, margin, 0.05, 0.05)
        assert seeds is not None and seeds > 3

        def power(n: int, margin: float = margin) -> float:
            if one.mean > margin:
                return power_above(one.mean, one.spread, n, margin, 0.025)
            return power_within(one.mean, one.spread, n, margin, 0.05)

        assert power(seeds) >= 0.8 and (seeds == 4 or power(seeds - 1) < 0.8)
    assert seeds_to_settle(one, one.mean, 0.05, 0.05) is None  # right on the margin: nothing settles that
    assert seeds_to_settle(paired_difference([1.0], [0.5]), 0.1, 0.05, 0.05) is None


def test_one_seed_shows_nothing_and_no_spread_shows_all() -> None:
    one = paired_difference([1.0], [0.5])
    assert one.interval(0.95) == (-math.inf, math.inf)
    assert one.p_below(10) == one.p_above(-10) == one.p_within(10) == one.p_nonzero() == 1.0
    same = paired_difference([1.0, 2.0, 3.0], [0.5, 1.5, 2.5])
    assert same.spread == 0 and same.p_above(0.4) == 0.0 and same.p_below(0.4) == 1.0


def test_correlation_of_seeds_is_pearsons_and_absent_where_it_has_no_meaning() -> None:
    a, b = [1.0, 2.0, 4.0, 3.0], [1.1, 1.9, 4.2, 3.3]
    assert paired_difference(a, b).correlation == pytest.approx(stats.pearsonr(a, b).statistic)
    assert paired_difference(a[:2], b[:2]).correlation is None
    assert paired_difference(a, [1.0] * 4).correlation is None


@pytest.mark.parametrize("seeds", [3, slow(5), slow(8)])
def test_nominal_95_percent_intervals_cover_94_to_96(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    assert 0.94 <= simulate.coverage(seeds, "paired", 10_000, rng) <= 0.96
    assert simulate.coverage(seeds, "Welch", 10_000, rng) >= 0.94  # at three seeds it covers more


@pytest.mark.parametrize("passes,sigma", [slow(0.65, 0.01), slow(1.0, 0.01), slow(0.8, 0.05)])
def test_among_identical_backbones_a_quality_winner_is_rare(passes: float, sigma: float) -> None:
    rng = np.random.default_rng(1)
    for backbones in (2, 3):
        rate, _ = simulate.false_winners(2000, rng, backbones=backbones, seeds=3, sigma=sigma, passes=passes)
        assert rate <= 0.05
    plain, _ = simulate.false_winners(200, rng, backbones=2, seeds=3, sigma=sigma, passes=passes, rule=Rule())
    assert plain > 0.3  # the plain rule, on the same draws, names a winner most of the time


def beyond_chance(promised: float, draws: int) -> float:
    """Four standard errors of a share that was counted over so many draws: a chance of 3 in 100 000."""
    return 4 * math.sqrt(promised * (1 - promised) / draws)


@pytest.mark.parametrize("kind", simulate.KINDS)
@pytest.mark.parametrize("share", simulate.PLACES.values(), ids=simulate.PLACES)
def test_intervals_of_shares_cover_whatever_the_items_are(kind: str, share: float) -> None:
    rng, draws = np.random.default_rng(5), 1000
    for seeds in (3, 20):
        spread = simulate.spread_of_items(share, seeds)
        claimed, _ = simulate.coverage_of_shares(seeds, share, spread, kind, draws, rng)
        assert claimed >= 0.95 - beyond_chance(0.95, draws)


def test_seeds_alone_do_not_cover_where_all_of_them_see_the_same_items() -> None:
    """Why the error of the items is added, and not only compared with that of the seeds."""
    rng, draws = np.random.default_rng(6), 1000
    spread = simulate.spread_of_items(0.5, 20)
    claimed, alone = simulate.coverage_of_shares(20, 0.5, spread, simulate.KINDS[1], draws, rng)
    assert claimed >= 0.95 - beyond_chance(0.95, draws) and alone < 0.95 - beyond_chance(0.95, draws)


@pytest.mark.parametrize("share", [0.5, slow(0.1), slow(1.0)])
def test_among_identical_accuracies_a_quality_winner_is_rare(share: float) -> None:
    rng, runs = np.random.default_rng(7), 400
    for kind, backbones, seeds in ((simulate.KINDS[0], 3, 3), (simulate.KINDS[1], 2, 8)):
        rate = simulate.false_winners_of_shares(runs, rng, backbones, seeds, share, kind, passes=0.65)
        assert rate <= 0.05 + beyond_chance(0.05, runs)


def test_at_a_gap_of_the_margin_neither_better_nor_equal_is_claimed_often() -> None:
    rng, runs = np.random.default_rng(8), 400

    def draw() -> Verdict:
        shares = simulate.draw_shares(rng, 2, 8, 0.1, 0.005, simulate.KINDS[1], gap=simulate.MARGIN)
        return simulate.judge_shares(shares, rng)

    found = simulate.shares_of_outcomes(runs, draw)
    assert (found["first"] + found["equivalent"]) / runs <= 0.05 + beyond_chance(0.05, runs)
    assert not found["second"]


@pytest.mark.parametrize("margin", [0.1, 0.001])
def test_nothing_identical_is_often_better_than_its_reference(margin: float) -> None:
    rng, runs = np.random.default_rng(9), 400
    rule = Rule(evidence="seeds", against="b0", quality_margin=margin)
    better, worse = simulate.false_beats(runs, rng, lambda: simulate.draw_run(rng, 4, 5, 0.1, 0.65, rule=rule))
    assert max(better, worse) <= 0.05 + beyond_chance(0.05, runs)
