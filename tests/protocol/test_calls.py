"""Quality against calls: what the second set of noise must confirm, and what equal quality costs."""

import math
from collections.abc import Mapping

import pytest

from bakeoff.protocol.calls import CallsRecord, Curve, Rung, read_calls
from bakeoff.protocol.figures import HELD_OUT, figures_of
from bakeoff.protocol.measurement import Quality, Spread
from bakeoff.protocol.probes import Point, ProbeRecord
from bakeoff.protocol.sections.bar import Bar
from bakeoff.protocol.sections.rule import Rule

FIGURES = figures_of("mnist") or {}
BAR = Bar(samples=64, thresholds={"recognised": 0.8, "frechet": 300.0})
RULE = Rule(evidence="point", quality_margin=0.1)
LADDER = (1, 2, 5)


def quality(frechet: float, recognised: float = 0.9) -> Quality:
    return Quality(samples=64, figures={"recognised": recognised, "frechet": frechet})


def curve(name: str, seed: int, *pairs: tuple[float, float]) -> Curve:
    """Fréchet distances on both sets of noise, rung by rung."""
    rungs = [
        Rung(calls=calls, steps=calls, nfe=calls, found=quality(found), confirmed=quality(confirmed))
        for calls, (found, confirmed) in zip(LADDER, pairs, strict=False)
    ]
    return Curve(backbone=name, seed=seed, rungs=tuple(rungs))


def timed(ms: Mapping[str, float]) -> ProbeRecord:
    """A solve takes so many milliseconds a call; a batch ten times as long."""

    def spread(value: float) -> Spread:
        return Spread(median=value, p10=value, p90=value, count=1)

    points = [
        Point(
            at=calls,
            candidates={
                name: {"one_ms": spread(calls * one), "batch_ms": spread(10 * calls * one)} for name, one in ms.items()
            },
        )
        for calls in LADDER
    ]
    return ProbeRecord(probe="solve_time", axis="calls", points=tuple(points))


def test_what_the_first_set_of_noise_shows_must_hold_on_the_second() -> None:
    lucky = curve("a", 0, (290, 310), (310, 290), (280, 299))
    found = lucky.enough(BAR, FIGURES)
    assert found is not None and found.calls == 5
    assert curve("a", 0, (290, 310), (310, 290), (280, 301)).enough(BAR, FIGURES) is None


def test_a_bar_of_other_samples_is_not_passed() -> None:
    assert curve("a", 0, (1, 1)).enough(BAR.model_copy(update={"samples": 65}), FIGURES) is None


def test_equal_quality_is_the_margin_from_the_worst_best() -> None:
    """a reaches 100 and b 200: within 10 % of 200, that is at 220, a needs two calls and b five."""
    curves = [curve("a", seed, (250, 250), (215, 219), (100, 100)) for seed in (0, 1, 2)]
    curves += [curve("b", seed, (290, 290), (221, 219), (200, 200)) for seed in (0, 1, 2)]
    reading = read_calls(CallsRecord(ladder=LADDER, curves=tuple(curves)), timed({"a": 3, "b": 1}), RULE, BAR, FIGURES)
    equal = reading.equal
    assert equal is not None and equal.figure.name == "frechet" and equal.limit == pytest.approx(220)
    assert equal.calls == {"a": {0: 2, 1: 2, 2: 2}, "b": {0: 5, 1: 5, 2: 5}}
    for pairs in equal.pairs.values():
        (pair,) = pairs
        ratio = pair.ratio(0.95)
        assert ratio is not None and ratio == pytest.approx((6 / 5,) * 3)
    assert reading.enough == {"a": {0: 1, 1: 1, 2: 1}, "b": {0: 1, 1: 1, 2: 1}}
    assert (
        "one item: a takes 1.2 times as long as b (the same calls in all of 3 seeds, so no interval)" in reading.said()
    )


def test_the_ratio_is_paired_over_the_seeds_in_which_both_reach_it() -> None:
    curves = [curve("a", 0, (100, 100)), curve("a", 1, (100, 400), (100, 100)), curve("a", 2, (900, 900), (290, 290))]
    curves += [curve("b", seed, (100, 100), (100, 100)) for seed in (0, 1, 2)]
    reading = read_calls(CallsRecord(ladder=LADDER, curves=tuple(curves)), timed({"a": 1, "b": 1}), RULE, BAR, FIGURES)
    assert reading.equal is not None
    (pair,) = reading.equal.pairs["one_ms"]
    assert reading.equal.limit == pytest.approx(214.5)  # a's best mean is 195, of two calls, which one seed lacks
    assert reading.equal.calls["a"] == {0: 1, 1: 2, 2: None}
    assert pair.difference is not None and pair.difference.seeds == 2
    assert pair.difference.mean == pytest.approx((math.log(1) + math.log(2)) / 2)


def test_backbones_below_the_bar_are_not_compared() -> None:
    curves = (curve("a", 0, (100, 100)), curve("b", 0, (400, 400)))
    reading = read_calls(CallsRecord(ladder=LADDER, curves=curves), None, RULE, BAR, FIGURES)
    assert reading.equal is None and reading.enough == {"a": {0: 1}, "b": {0: None}}
    assert "b never passes the bar" in reading.said()


def test_without_thresholds_no_number_of_calls_is_enough() -> None:
    people = Bar(measure="human", samples=64)
    reading = read_calls(CallsRecord(ladder=LADDER, curves=(curve("a", 0, (1, 1)),)), None, RULE, people, FIGURES)
    assert (reading.enough, reading.equal) == ({}, None) and reading.said()[0].startswith("people decide the bar")


def test_a_figure_that_samples_do_not_have_is_not_compared() -> None:
    rule = RULE.model_copy(update={"quality": "held_out_loss"})
    curves = (curve("a", 0, (100, 100)), curve("b", 0, (100, 100)))
    known = FIGURES | {HELD_OUT.name: HELD_OUT}
    reading = read_calls(CallsRecord(ladder=LADDER, curves=curves), None, rule, BAR, known)
    assert reading.equal is None and reading.enough == {"a": {0: 1}, "b": {0: 1}}


def test_where_more_is_better_the_limit_lies_below() -> None:
    rule = RULE.model_copy(update={"quality": "recognised", "scale": "difference"})
    rungs = [Rung(calls=1, steps=1, nfe=1, found=quality(1, one), confirmed=quality(1, one)) for one in (0.95, 0.85)]
    curves = tuple(Curve(backbone=name, seed=0, rungs=(rung,)) for name, rung in zip("ab", rungs, strict=True))
    reading = read_calls(CallsRecord(ladder=LADDER, curves=curves), None, rule, BAR, FIGURES)
    assert reading.equal is not None and reading.equal.limit == pytest.approx(0.75)
