"""The audit: six contradictions in the published table, none in a consistent one, and the one that was put in."""

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.protocol.audit.checks import Audit, FloorBasis, LossFloor, audit, floor_basis
from bakeoff.protocol.audit.published import load_table, parse_table

EXAMPLES = Path(__file__).parents[3] / "examples"
CONSISTENT = tomllib.loads((EXAMPLES / "consistent.toml").read_text())
MNIST = LossFloor(0.078, "measured before")
ROWS = range(len(CONSISTENT["backbone"]))
Document = dict[str, Any]


def checked(document: Document, floor: LossFloor | None = MNIST) -> Audit:
    return audit(parse_table(document, "a table"), floor)


def checks(found: Audit) -> list[str]:
    return [finding.check for finding in found.findings]


def changed(change: Callable[[Document], object]) -> Document:
    document = copy.deepcopy(CONSISTENT)
    change(document)
    return document


def test_the_published_table_has_six_contradictions_with_their_arithmetic(examples: Path) -> None:
    found = audit(load_table(str(examples / "published.toml")), MNIST)
    message = {finding.check: finding.message for finding in found.findings}
    assert set(message) == {"tokens", "wall_clock", "parameters", "peak", "loss_floor", "claims"}
    assert len(found.findings) == 6 and found.skipped == []
    assert "7 x 7 = 49 tokens, but the table says 196; 196 tokens are patches of 2x2" in message["tokens"]
    assert "11,750 steps x 18 ms = 3.52 min, printed 42 min" in message["wall_clock"]
    assert "factor of 12" in message["wall_clock"]
    for part in ("8 mamba have 1.23 M, printed 3.1 M", "0.878 M", "1.58 M", "1.80 times apart"):
        assert part in message["parameters"]
    for part in ("50,176 tokens = 0.933 TFLOP", "51.8 TFLOP/s", "51.2 TFLOP/s"):
        assert part in message["peak"]
    assert "hybrid's 0.08 is 1.026 times the floor" in message["loss_floor"] and "0.0780" in message["loss_floor"]
    for part in ("one value of tokens (196; carried over to 100, 200)", "one seed", "one learning rate", "7.0 % above"):
        assert part in message["claims"]
    assert found.verdict is not None and (found.verdict.winner, found.verdict.indicative) == ("mamba", True)


def test_nothing_is_found_or_skipped_in_a_consistent_table() -> None:
    found = checked(CONSISTENT)
    assert found.findings == [] and found.skipped == []
    assert found.verdict is not None and found.verdict.winner == "hybrid"


def scale(section: str, key: str, factor: float) -> Callable[[Document], object]:
    def change(document: Document) -> None:
        for row in document[section]:
            row[key] *= factor

    return change


@given(st.integers(1, 195))
def test_wrong_tokens_are_found_alone(tokens: int) -> None:
    assert checks(checked(changed(lambda d: d["setup"].update(tokens=tokens)))) == ["tokens"]


@given(st.integers(1, 100).filter(lambda patch: patch != 2))
def test_a_wrong_patch_is_found_alone(patch: int) -> None:
    assert checks(checked(changed(lambda d: d["setup"].update(patch_size=patch)))) == ["tokens"]


@given(st.sampled_from(ROWS), st.one_of(st.floats(1e-3, 0.85), st.floats(2, 1e4)))
def test_an_unexplained_wall_clock_is_found_alone(row: int, factor: float) -> None:
    found = checked(changed(lambda d: d["backbone"][row].update(wall_min=factor * d["backbone"][row]["wall_min"])))
    assert (
        checks(found) == ["wall_clock"] and found.findings[0].where == f"backbone.{CONSISTENT['backbone'][row]['name']}"
    )


@given(st.one_of(st.floats(0.1, 0.88), st.floats(1.12, 2.6)))
def test_counts_that_the_blocks_do_not_have_are_found_alone(factor: float) -> None:
    assert checks(checked(changed(scale("backbone", "params", factor)))) == ["parameters"]


def test_what_lies_outside_the_blocks_may_be_left_unstated() -> None:
    silent = changed(lambda d: [row.pop("other_params") for row in d["backbone"]])
    assert checks(checked(silent)) == []
    scale("backbone", "params", 1.4)(silent)
    assert checks(checked(silent)) == []
    scale("backbone", "params", 1.3)(silent)
    assert checks(checked(silent)) == ["parameters"]


@given(st.floats(0.006, 0.039))
def test_printed_counts_beyond_the_tables_own_tolerance_are_found_alone(tolerance: float) -> None:
    found = checked(changed(lambda d: d["setup"].update(match_tolerance=tolerance)))
    assert checks(found) == ["match"] and "1.040 times" in found.findings[0].message


@given(st.floats(1e-6, 7))
def test_more_than_the_card_can_do_is_found_alone(peak: float) -> None:
    assert checks(checked(changed(lambda d: d["setup"].update(device_peak_tflops=peak)))) == ["peak"]


@given(st.floats(1e-6, 0.78))
def test_a_loss_near_the_floor_is_found_alone(share: float) -> None:
    low = 1.1 * MNIST.value * share / 0.206
    found = checked(changed(scale("backbone", "final_loss", low)))
    assert checks(found) == ["loss_floor"] and "backbone.hybrid" in found.findings[0].where


def test_the_floor_is_inclusive_and_a_stated_one_goes_first() -> None:
    for floor, expected in ((0.2, ["loss_floor"]), (0.18, [])):
        table = changed(lambda d, floor=floor: d["setup"].update(loss_floor=floor))
        assert checks(checked(table)) == expected and checks(checked(table, None)) == expected
    exact = changed(lambda d: d["setup"].update(loss_floor=0.2) or d["backbone"][1].update(final_loss=1.1 * 0.2))
    assert "loss_floor" in checks(checked(exact))


@pytest.mark.parametrize(
    "claim,change,said",
    [
        (0, {"measured_at": [196]}, "one value of tokens (196)"),
        (0, {"measured_at": [196, 196.0]}, "one value of tokens"),
        (0, {"measured_at": []}, "none given"),
        (0, {"measured_at": [196], "extrapolated_to": ["video"]}, "carried over to video"),
        (0, {"seeds": 1}, "one seed"),
        (1, {"learning_rates": [1e-4]}, "one learning rate (0.0001)"),
    ],
)
def test_claims_on_one_point_seed_or_rate_are_found_alone(claim: int, change: Document, said: str) -> None:
    found = checked(changed(lambda d: d["claim"][claim].update(change)))
    assert checks(found) == ["claims"] and said in found.findings[0].message
    assert found.findings[0].where == f"claim.{claim}"


def test_one_seed_anywhere_makes_every_claim_without_its_own_a_one_seed_claim() -> None:
    for one_seed in (
        changed(lambda d: d["setup"].update(seeds=1)),
        changed(lambda d: d["backbone"][2].update(seeds=1)),
    ):
        found = checked(one_seed)
        assert checks(found) == ["claims"] and found.findings[0].where == "claim.1"


@pytest.mark.parametrize(
    "printed,said",
    [
        ({"winner": "mamba"}, "the winner is hybrid, printed mamba"),
        ({}, "the winner is hybrid, printed nobody"),
        ({"winner": "hybrid", "eliminated": ["mamba"]}, "eliminated is nobody, printed mamba"),
    ],
)
def test_a_verdict_that_the_figures_do_not_give_is_found_alone(printed: Document, said: str) -> None:
    found = checked(changed(lambda d: d.update(verdict=printed)))
    assert checks(found) == ["verdict"] and said in found.findings[0].message


NEEDED = {  # which checks say that they lack which key
    "tokens": {"tokens", "peak"},
    "patch_size": {"tokens"},
    "image_size": {"tokens"},
    "epochs": {"wall_clock"},
    "batch_size": {"wall_clock", "peak"},
    "d_model": {"parameters"},
    "d_state": {"parameters"},
    "device_peak_tflops": {"peak"},
    "match_tolerance": {"match"},
    "seeds": {"claims"},
    "dataset": set(),
    "device": set(),
    "loss_margin": set(),
}


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_of_the_setup_skips_its_checks_and_nothing_else(key: str) -> None:
    found = checked(changed(lambda d: d["setup"].pop(key)))
    assert found.findings == [] and {skip.check for skip in found.skipped} == NEEDED[key]
    assert all(key in skip.reason for skip in found.skipped)


@pytest.mark.parametrize(
    "key,skipped",
    [
        ("params", {"parameters", "match", "peak"}),
        ("step_ms", {"wall_clock", "peak"}),
        ("wall_min", {"wall_clock"}),
        ("final_loss", {"loss_floor", "verdict"}),
        ("samples", {"verdict"}),
        ("mixers", {"parameters"}),
    ],
)
def test_a_missing_figure_of_a_backbone_skips_its_row_and_nothing_else(key: str, skipped: set[str]) -> None:
    found = checked(changed(lambda d: d["backbone"][0].pop(key)))
    lacks = {skip.check: skip.reason for skip in found.skipped}
    if key == "step_ms":  # the rule cannot name a winner without
        assert checks(found) == ["verdict"]
    assert set(lacks) == skipped and all(f"backbone.mamba.{key} is missing" in reason for reason in lacks.values())


def test_a_table_of_names_alone_skips_everything() -> None:
    found = checked({"backbone": [{"name": "a"}, {"name": "b"}]}, None)
    assert found.findings == [] and found.verdict is None
    every = {"tokens", "wall_clock", "parameters", "match", "peak", "claims", "loss_floor", "verdict"}
    assert {skip.check for skip in found.skipped} == every


@pytest.mark.parametrize(
    "change,said",
    [
        ({"dataset": "celeba"}, 'data set "celeba" is not known; known is mnist'),
        ({"loss": "x_prediction"}, 'loss "x_prediction" is not known'),
        ({"train_images": 70_000}, "70,000, but MNIST has 60,000"),
    ],
)
def test_an_unknown_floor_is_skipped_and_says_so(change: Document, said: str) -> None:
    document = changed(lambda d: d["setup"].update(change))
    found = checked(document, None)
    assert [skip.check for skip in found.skipped] == ["loss_floor"] and said in found.skipped[0].reason
    assert floor_basis(parse_table(CONSISTENT, "a table")) == FloorBasis((-1.0, 1.0), 60_000)
