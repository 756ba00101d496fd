"""Figures: names and directions decide the bar, are kept in a sealed plan, and are read from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import COSTS, DIGITS, FIGURES, LOSS, Figure, figure_from_json, figures_of, known_figures
from bakeoff.protocol.measurement import Measurement, Quality, check_bar, evidence_of
from bakeoff.protocol.sections.bar import Bar

ACCURACY = Figure("accuracy", "accuracy", "higher", low=0, high=1, of="items")


def test_names_are_the_keys_and_every_cost_is_better_lower() -> None:
    for table in (*FIGURES.values(), COSTS):
        assert all(name == one.name for name, one in table.items())
        assert "loss" not in table
    assert {one.better for one in COSTS.values()} == {"lower"}
    assert DIGITS["recognised"].share and not DIGITS["classes"].share and not LOSS.share


@pytest.mark.parametrize("one", [LOSS, ACCURACY, *DIGITS.values(), *COSTS.values()], ids=lambda one: one.name)
def test_a_figure_survives_its_sealed_plan(one: Figure) -> None:
    assert figure_from_json(json.loads(json.dumps(one.to_json()))) == one


def test_a_plan_knows_the_figures_of_a_plug_in() -> None:
    assert figures_of("mine") is None and known_figures({}, "mine") == {"loss": LOSS}
    assert known_figures({"figures": [ACCURACY.to_json()]}, "mine") == {"loss": LOSS, "accuracy": ACCURACY}
    assert known_figures({}, "mnist") == {"loss": LOSS, **DIGITS}


@pytest.mark.parametrize(
    "figures",
    [3, [3], [{"name": "a"}], [ACCURACY.to_json() | {"better": "more"}], [ACCURACY.to_json() | {"extra": 1}]],
)
def test_a_plan_of_a_stranger_is_checked(figures: object) -> None:
    with pytest.raises(BakeoffError, match="figure"):
        known_figures({"figures": figures}, "mnist")


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1000), st.floats(0, 1000))
def test_the_bar_reads_the_direction_from_the_figure(share: float, least: float, distance: float, most: float) -> None:
    bar = Bar(samples=8, thresholds={"recognised": least, "frechet": most})
    quality = Quality(samples=8, figures={"recognised": share, "frechet": distance})
    samples, recognised, frechet = check_bar(bar, quality, DIGITS)
    assert samples.passed and recognised.passed == (share >= least) and frechet.passed == (distance <= most)
    assert (recognised.observed, recognised.threshold) == (share, least)


@pytest.mark.parametrize(
    "name,value,allowed", [("recognised", 1.5, "at least 0 and at most 1"), ("frechet", -1.0, "at least 0")]
)
def test_a_value_that_a_figure_cannot_have_is_refused(name: str, value: float, allowed: str) -> None:
    measured = Measurement.model_validate(MEASURED | {"quality": {"samples": 8, "figures": {name: value}}})
    with pytest.raises(BakeoffError, match=f"a-s0: {name} = .*; allowed: {allowed}"):
        evidence_of(measured, Bar(samples=8), DIGITS)


def test_the_evidence_holds_costs_by_name_and_a_probes_go_first() -> None:
    spread = {"median": 2.0, "p10": 1.0, "p90": 3.0, "count": 5}
    memory = {"process_mib": 300.0, "cuda_allocated_mib": 40.0}
    quality = {"samples": 8, "figures": {"recognised": 0.5}}
    more = {"loss": 0.0, "quality": quality, "step_time_ms": spread, "sampling_time_s": 7.0, "memory": memory}
    measured = Measurement.model_validate(MEASURED | more)
    found = evidence_of(measured, Bar(samples=8), DIGITS, {"step_time_ms": 1.5}, group="flow")
    assert found.figures == {"loss": 0.0, "recognised": 0.5} and (found.items, found.group) == (8, "flow")
    assert found.costs == {
        "step_time_ms": 1.5,
        "sampling_time_s": 7.0,
        "peak_memory_mib": 40.0,
        "wall_s": 9.0,
        "flops_per_sample": 10,
        "state_bytes": 20,
    }
    assert found.costs.keys() <= COSTS.keys()
    items = Measurement.model_validate(MEASURED | {"quality": quality, "items": 500})
    assert evidence_of(items, Bar(samples=8), DIGITS).items == 500


MEASURED = {
    "backbone": "a",
    "seed": 0,
    "status": "completed",
    "steps": 24,
    "wall_s": 9.0,
    "accounted_s": {},
    "params": 4000,
    "flops_per_sample": 10,
    "state_bytes": 20,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}


def test_other_sample_counts_and_missing_figures_fail_the_bar() -> None:
    bar = Bar(samples=8, thresholds={"recognised": 0.0})
    assert not check_bar(bar, Quality(samples=7, figures={"recognised": 1.0}), DIGITS)[0].passed
    missing = check_bar(bar, Quality(samples=8, figures={}), DIGITS)[1]
    assert (missing.observed, missing.passed) == ("-", False)
