"""bo.decide: rows of anyone's numbers, and what is wrong with them in words."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bakeoff as bo

GOLDEN = Path(__file__).parents[1] / "golden"


def rows(losses: dict[str, list[float]], **more: Any) -> list[dict[str, Any]]:
    return [
        {"backbone": name, "seed": seed, "loss": loss, **more}
        for name, of_seeds in losses.items()
        for seed, loss in enumerate(of_seeds)
    ]


CLEAR = {"good": [0.50, 0.51, 0.505], "bad": [0.80, 0.81, 0.805]}


def test_the_evidence_follows_the_seeds_unless_the_rule_says_which() -> None:
    one = {name: losses[:1] for name, losses in CLEAR.items()}
    assert bo.decide({}, rows(one)).indicative and not bo.decide({}, rows(CLEAR)).indicative
    assert bo.decide({"evidence": "point"}, rows(CLEAR)).indicative
    assert bo.decide({}, rows(CLEAR)).winner == bo.decide({}, rows(one)).winner == "good"


@pytest.mark.parametrize("name", ["format1", "format1-human"])
def test_the_rows_of_a_run_give_its_own_verdict(name: str, tmp_path: Path) -> None:
    run = bo.Run(shutil.copytree(GOLDEN / name, tmp_path / name))
    found = bo.decide(run.protocol.rule, run.rows())
    assert (found.outcome, found.winner, found.indicative) == (
        run.verdict.outcome,
        run.verdict.winner,
        run.verdict.indicative,
    )
    for backbone, result in run.verdict.backbones.items():
        mine = found.backbones[backbone]
        assert (mine.outcome, mine.reason, mine.costs) == (result.outcome, result.reason, result.costs)
        assert mine.figures == result.figures and mine.intervals == result.intervals
    assert found.comparisons == run.verdict.comparisons


def test_numbers_of_a_table_are_numbers(tmp_path: Path) -> None:
    table = rows(CLEAR, step_time_ms=np.float32(3), params=np.int64(7), passed=np.True_, note=None, gap=math.nan)
    found = bo.decide({}, table).backbones["good"]
    assert found.costs == {"step_time_ms": 3.0} and set(found.figures) == {"loss", "params"}
    assert found.seeds_passed == 3


def test_a_backbone_that_fails_or_diverges_is_eliminated_and_a_missing_row_leaves_it_open() -> None:
    table = rows(CLEAR)
    for row in table[:3]:
        row["passed"] = False
    assert bo.decide({"evidence": "point"}, table).backbones["good"].outcome == "eliminated"
    table = rows(CLEAR, status="diverged")
    for row in table[3:]:
        row["status"] = "completed"
    assert bo.decide({"evidence": "point"}, table).winner == "bad"
    assert bo.decide({}, rows(CLEAR)[:-1]).missing == ["bad-s2"]
    assert bo.decide({}, rows(CLEAR, status="diverged")).outcome == "all_eliminated"
    for undecided in (None, math.nan):
        table = rows(CLEAR)
        table[0]["passed"] = undecided
        assert bo.decide({}, table).missing == ["the judgement of good-s0"]


def test_figures_of_ones_own_need_a_direction() -> None:
    table = [{"backbone": name, "seed": 0, "elo": elo} for name, elo in (("old", 1500.0), ("new", 1600.0))]
    rule = {"quality": "elo", "scale": "difference", "quality_margin": 10, "sigma": 5}
    assert bo.decide(rule, table, {"elo": "higher"}).winner == "new"
    assert bo.decide(rule, table, {"elo": {"better": "lower", "unit": "points"}}).winner == "old"
    with pytest.raises(bo.BakeoffError, match="elo is new; say which way is better"):
        bo.decide(rule, table)
    with pytest.raises(bo.BakeoffError, match=r"figures: elo: .*better"):
        bo.decide(rule, table, {"elo": "up"})


WRONG = {
    "no rows": ([], "no rows"),
    "no seed": ([{"backbone": "a", "loss": 1.0}], "row 0: no seed; given are backbone, loss"),
    "half a seed": ([{"backbone": "a", "seed": 0.5, "loss": 1.0}], "row 0: seed = 0.5; allowed: a whole number"),
    "text": (rows({"a": [1.0]}, step_time_ms="fast"), "row 0: step_time_ms = 'fast'; allowed: a finite number"),
    "infinite": (rows({"a": [1.0, math.inf]}), "row 1: loss = inf; allowed"),
    "status": (rows({"a": [1.0]}, status="stopped"), "status = 'stopped'; allowed: completed, diverged"),
    "twice": ([*rows({"a": [1.0]}), *rows({"a": [2.0]})], "two rows of a with seed 0"),
    "no quality": ([{"backbone": "a", "seed": 0, "los": 1.0}], "no row has loss, by which the rule decides"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    table, said = WRONG[case]
    with pytest.raises(bo.BakeoffError, match=said):
        bo.decide({}, table)


def test_a_wrong_rule_is_named() -> None:
    with pytest.raises(bo.BakeoffError, match=r"qualty: unknown key \(did you mean quality\?\)"):
        bo.decide({"qualty": "loss"}, rows(CLEAR))
