"""Runs of format 1, sealed in November 2026, stay whole, readable and decided as they were, for ever."""

import json
import shutil
from pathlib import Path

import pytest

from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.report import write_report
from bakeoff.run.verify import verify
from bakeoff.trial.checkpoint import load_model

HERE = Path(__file__).parent
RUNS = {  # run to the last hash of its ledger
    "format1": "ad9df8a9115f0bb51ebfdc0e06af04b46526b0acf0bd6596bb7adad039bf5d4d",
    "format1-human": "77b353150b1ec4d1c417d9f933eabcaf411e07a86698dfdd73db84cd1e837007",
}


def sealed(name: str) -> dict:
    """The verdict as it was written when the run ended."""
    return json.loads((HERE / name / "verdict.json").read_text())


@pytest.mark.parametrize("name", RUNS)
def test_it_is_whole(name: str) -> None:
    found = verify(HERE / name, RUNS[name])
    assert (found.outcome, found.changed, found.missing) == ("whole", {}, [])


@pytest.mark.parametrize("name", RUNS)
def test_its_verdict_is_the_one_that_was_sealed(name: str) -> None:
    run, verdict = sealed_verdict(HERE / name)
    before = sealed(name)
    assert run.protocol.name in ("golden", "golden-human")
    assert (verdict.outcome, verdict.winner, verdict.indicative) == tuple(
        before[key] for key in ("outcome", "winner", "indicative")
    )
    for one, was in zip(verdict.steps, before["steps"], strict=True):
        assert vars(one) == was
    for one, was in zip(verdict.comparisons, before["comparisons"], strict=True):
        assert (one.outcome, one.p_beyond, one.p_within, one.p_nonzero) == tuple(
            was[key] for key in ("outcome", "p_beyond", "p_within", "p_nonzero")
        )
    assert {name: (one.outcome, one.reason) for name, one in verdict.backbones.items()} == {
        name: (one["outcome"], one["reason"]) for name, one in before["backbones"].items()
    }


@pytest.mark.parametrize("trial", ["mamba-s3", "transformer-s4", "hybrid-s3"])
def test_its_weights_load(trial: str) -> None:
    loaded = load_model(HERE / "format1" / "trials" / trial / "model.safetensors")
    assert loaded.backbone.name == trial.partition("-")[0]


def test_its_report_is_written(tmp_path: Path) -> None:
    copy = shutil.copytree(HERE / "format1", tmp_path / "run")
    page = write_report(copy).read_text()
    assert "transformer wins" in page and "ad9df8a9115f0bb5" in page
