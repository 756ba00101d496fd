"""The picture of a verdict: every pair with its interval, against the margin."""

import math

import pytest

from bakeoff.protocol.figures import LOSS, Figure
from bakeoff.protocol.scaling import Scale
from bakeoff.protocol.statistics import Difference
from bakeoff.protocol.verdict import Comparison
from bakeoff.report import figures


def pair(first: str, mean: float, interval: tuple[float, float] | None, outcome) -> Comparison:
    difference = Difference(3 if interval else 1, mean, 0.1, 0.06, 2 if interval else 0)
    return Comparison(first, "$ref", difference, interval, outcome, 1.0, 1.0, 1.0, None)


def test_a_row_a_pair_in_percent_full_where_it_is_settled() -> None:
    pairs = [
        pair("better", math.log(0.7), (math.log(0.65), math.log(0.75)), "first"),
        pair("open", math.log(1.05), (math.log(0.8), math.log(1.3)), "inconclusive"),
        pair("one seed", math.log(1.2), None, "inconclusive"),
    ]
    (axes,) = figures.differences(pairs, Scale(LOSS, "ratio", 0.1)).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [r"better against \$ref", r"open against \$ref", r"one seed against \$ref"]
    spans = [
        list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
    ]
    assert pytest.approx([-35, -25]) in spans and pytest.approx([-20, 30]) in spans
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([-30, 5, 20])
    assert [line.get_fillstyle() for line in points] == ["full", "none", "none"]
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((100 / 1.1 - 100, 10))


def test_where_higher_is_better_the_differences_are_those_of_the_plain_values() -> None:
    share = Figure("accuracy", "accuracy", "higher")
    found = figures.differences([pair("a", -0.2, (-0.3, -0.1), "first")], Scale(share, "difference", 0.05))
    (axes,) = found.axes
    assert axes.get_xlabel() == "difference in accuracy"
    assert list(axes.lines[1].get_xdata()) == pytest.approx([0.3, 0.1])
    assert axes.lines[2].get_xdata()[0] == pytest.approx(0.2)
