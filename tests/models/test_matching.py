"""Matching: the nearest width on the grid, and a refusal that names what can be reached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import BakeoffError
from bakeoff.models.matching import STEP, Fit, check_match, fit_width


@given(st.integers(8, 512), st.integers(1, 500), st.integers(0, 100_000), st.integers(1_000, 2_000_000))
def test_no_other_width_on_the_grid_is_nearer(nominal: int, slope: int, fixed: int, budget: int) -> None:
    def count(widths):
        return fixed + slope * widths["mamba"]

    fit = fit_width("one", {"mamba": nominal}, ["mamba"], count, budget)
    best = min((fixed + slope * STEP * step for step in range(1, 4097)), key=lambda params: abs(params - budget))
    assert abs(fit.params - budget) == abs(best - budget)
    assert fit.params == count(fit.widths) and fit.widths["mamba"] % STEP == 0


def test_one_factor_widens_all_elastic_kinds_and_leaves_the_rest() -> None:
    nominal = {"mamba": 256, "attention": 128, "mlp": 512}
    fit = fit_width("hybrid", nominal, ["mamba", "mlp"], lambda w: 100 * w["mamba"] + 7 * w["mlp"], 40_000)
    assert fit.widths["attention"] == 128
    assert fit.widths["mlp"] == 2 * fit.widths["mamba"] == pytest.approx(512 * fit.factor, abs=STEP)


def test_nothing_elastic_is_left_alone() -> None:
    fit = fit_width("fixed", {"attention": 64}, [], lambda widths: 12_345, 99)
    assert fit == Fit("fixed", {"attention": 64}, 1.0, 12_345)


def test_refusal_names_the_reachable_counts() -> None:
    fits = [Fit("small", {"mamba": 8}, 0.1, 1000), Fit("large", {"mlp": 8}, 0.1, 1200)]
    check_match(fits, 1100, 1.2)
    with pytest.raises(BakeoffError, match=r"small: 1,000 at mamba width 8; large: 1,200 at mlp width 8"):
        check_match(fits, 1100, 1.1)
    with pytest.raises(BakeoffError, match="budget"):
        check_match(fits, 5000, 1.2)
