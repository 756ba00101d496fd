"""The speed pass, made again on a finished run: every candidate in turn, and the loss floor it had."""

import argparse
import shutil
from pathlib import Path

import pytest

from bakeoff.probes import step_time, worker
from bakeoff.run.directory import RunDir
from bakeoff.run.files import read_json


def test_made_again_it_measures_every_candidate_and_finds_the_same_floor(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fewest rounds there are, for the time is up at once."""
    run = RunDir.open(Path(shutil.copytree(whole_run, tmp_path / "run")))
    before, floor = read_json(run.speed), run.floor.read_bytes()
    run.speed.unlink()
    run.floor.unlink()
    monkeypatch.setattr(step_time, "SECONDS", 0.0)
    assert worker.work(run, argparse.Namespace(device="cpu", data_dir=None)) == 0
    after = read_json(run.speed)
    assert run.floor.read_bytes() == floor
    assert after["rounds"] == step_time.FEWEST_ROUNDS and after.keys() == before.keys()
    assert after["backbones"].keys() == {backbone.name for backbone in run.protocol.backbones}
    for name, figures in after["backbones"].items():
        step, sampling = figures["step_time_ms"], figures["sampling_time_s"]
        assert 0 < step["p10"] <= step["median"] <= step["p90"] and step["count"] == step_time.FEWEST_ROUNDS
        assert sampling["median"] > 0 and sampling["count"] == step_time.SAMPLING_ROUNDS
        assert figures["nfe"] == run.trial(name, run.protocol.seeds[0]).measurement().nfe
