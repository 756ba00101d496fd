"""Probes, made again on a finished run: every candidate in turn, and the loss floor it had."""

import argparse
import shutil
from pathlib import Path

import pytest

from bakeoff.probes import worker
from bakeoff.probes.base import Probe
from bakeoff.probes.sampling_time import SamplingTime
from bakeoff.protocol.probes import PROBES
from bakeoff.rundir.directory import RunDir


def test_made_again_they_measure_every_candidate_and_find_the_same_floor(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fewest rounds there are, for the time is up at once."""
    run = RunDir.open(Path(shutil.copytree(whole_run, tmp_path / "run")))
    before, floor = {name: run.probe(name) for name in PROBES}, run.floor.read_bytes()
    shutil.rmtree(run.path / "probes")
    run.floor.unlink()
    monkeypatch.setattr(Probe, "seconds", 0.0)
    assert worker.work(run, argparse.Namespace(device="cpu", data_dir=None, probe=list(PROBES))) == 0
    assert run.floor.read_bytes() == floor
    for name, rounds in (("step_time", Probe.fewest), ("sampling_time", SamplingTime.fewest)):
        after, was = run.probe(name), before[name]
        assert after is not None and was is not None and after.setting.keys() == was.setting.keys()
        assert after.setting["rounds"] == rounds
        (point,) = after.points
        assert point.candidates.keys() == {backbone.name for backbone in run.protocol.backbones}
        for spreads in point.candidates.values():
            assert all(0 < one.p10 <= one.median <= one.p90 and one.count == rounds for one in spreads.values())
    (backbone,) = run.protocol.backbones
    assert run.medians("nfe") == {backbone.name: run.trial(backbone.name, 0).measurement().nfe}


def test_what_is_there_is_not_made_again(whole_run: Path, tmp_path: Path) -> None:
    run = RunDir.open(Path(shutil.copytree(whole_run, tmp_path / "run")))
    before = {name: run.probe_file(name).read_bytes() for name in PROBES}
    assert worker.work(run, argparse.Namespace(device="cpu", data_dir=None, probe=list(PROBES))) == 0
    assert {name: run.probe_file(name).read_bytes() for name in PROBES} == before


def test_the_speed_pass_of_format_1_is_read_as_probes() -> None:
    run = RunDir.open(Path(__file__).parents[1] / "golden" / "format1")
    step, sampling = run.probe("step_time"), run.probe("sampling_time")
    assert step is not None and sampling is not None
    assert step.medians("step_time_ms").keys() == sampling.medians("sampling_time_s").keys() == {
        "mamba", "transformer", "hybrid",
    }  # fmt: skip
