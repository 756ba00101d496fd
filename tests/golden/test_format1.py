"""Runs of format 1, sealed in November 2026, stay whole, readable and decided as they were, for ever.

What is compared with the verdict of that day: its outcome, winner and standings, every observed number, threshold and
p-value, step by step. The texts of criteria and reasons may be worded anew.
"""

import json
import shutil
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.judging.verdicts import sealed_verdict, verdict_json
from bakeoff.protocol.documents import read_toml
from bakeoff.protocol.formats import upgrade_measurement
from bakeoff.protocol.seal import digest
from bakeoff.report import write_report
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.verify import verify
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
    assert run.protocol.name in ("golden", "golden-human") and not verdict.deviations
    assert (verdict.outcome, verdict.winner, verdict.indicative) == tuple(
        before[key] for key in ("outcome", "winner", "indicative")
    )
    for one, was in zip(verdict.steps, before["steps"], strict=True):
        assert {key: value for key, value in vars(one).items() if key in SAME} == {key: was[key] for key in SAME}
    for one, was in zip(verdict.comparisons, before["comparisons"], strict=True):
        found = {key: getattr(one, key) for key in ("first", "second", "outcome", "p_beyond", "p_within", "p_nonzero")}
        assert found == {key: was[key] for key in found}
        assert list(one.interval or ()) == (was["interval"] or [])
        assert was["difference"].items() <= vars(one.difference).items()
    for name, was in before["backbones"].items():
        one = verdict.backbones[name]
        assert (one.outcome, one.seeds_passed, one.loss) == (was["outcome"], was["seeds_passed"], was["loss"])
        assert list(one.intervals["loss"] or ()) == (was["loss_interval"] or [])
        assert one.costs["step_time_ms"] == was["step_time_ms"]
        assert one.costs["peak_memory_mib"] == was["peak_memory_mb"]
        for seed, then in zip(one.seeds, was["seeds"], strict=True):
            assert (seed.seed, seed.completed, seed.waits_for) == (then["seed"], then["completed"], then["waits_for"])
            assert [(check.observed, check.threshold, check.passed) for check in seed.checks] == [
                (check["observed"], check["threshold"], check["passed"]) for check in then["checks"]
            ]


SAME = ("backbone", "observed", "threshold", "distance")


def test_its_digest_is_that_of_the_document_as_it_was_sealed() -> None:
    run, verdict = sealed_verdict(HERE / "format1")
    document = read_toml(HERE / "format1/protocol.toml")
    assert run.digest == RunDir.open(HERE / "format1").digest == digest(document) == sealed("format1")["digest"]
    assert verdict_json(run, verdict)["digest"] == run.digest != run.protocol.digest()


def test_its_seal_may_name_inputs_that_its_protocol_does_not_use(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(HERE / "format1", tmp_path / "run"))
    seal = json.loads((copy / "seal.json").read_text())
    seal["inputs"]["data"]["another file"] = "0" * 64
    (copy / "seal.json").write_text(json.dumps(seal))
    assert not any("another file" in change for change in sealed_verdict(copy)[1].deviations)
    seal["inputs"]["codec"] = "0" * 64
    (copy / "seal.json").write_text(json.dumps(seal))
    assert any(change.startswith("codec: was 000000000000") for change in sealed_verdict(copy)[1].deviations)


def test_its_measurements_read_as_the_present_ones() -> None:
    path = HERE / "format1/trials/hybrid-s3/measurement.json"
    before = json.loads(path.read_text())
    assert "format" not in before
    after = upgrade_measurement(before)
    assert "format" not in before and upgrade_measurement(after) == after
    quality = before["quality"]
    assert after["quality"] == {
        "samples": 32,
        "figures": {key: quality[key] for key in ("recognised", "classes", "frechet", "sharpness")},
        "detail": {"class_shares": quality["class_shares"]},
    }
    measured = RunDir.open(HERE / "format1").trial("hybrid", 3).measurement()
    assert measured.format == 2 and measured.loss == before["loss"]


def of_format_3(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"format": 3}))


@pytest.mark.parametrize("name", ["seal.json", "trials/mamba-s3/measurement.json"])
def test_what_a_newer_version_made_is_refused_in_words(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(HERE / "format1", tmp_path / "run"))
    of_format_3(copy / name)
    newer = "format 3 was made by a newer bakeoff; this one reads up to format 2"
    if name == "seal.json":
        assert any(newer in change for change in sealed_verdict(copy)[1].deviations)
    else:
        with pytest.raises(BakeoffError, match=newer):
            sealed_verdict(copy)


@pytest.mark.parametrize("trial", ["mamba-s3", "transformer-s4", "hybrid-s3"])
def test_its_weights_load(trial: str) -> None:
    loaded = load_model(HERE / "format1" / "trials" / trial / "model.safetensors")
    assert loaded.backbone.name == trial.partition("-")[0]


def test_its_report_is_written(tmp_path: Path) -> None:
    copy = shutil.copytree(HERE / "format1", tmp_path / "run")
    page = write_report(copy).read_text()
    assert "transformer wins" in page and "ad9df8a9115f0bb5" in page
