"""A run in progress, as its directory tells it."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from bakeoff.errors import BakeoffError
from bakeoff.rundir import progress
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.metrics_log import read_losses
from bakeoff.rundir.progress import POINTS, Watch
from serving import stream, studio


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(smoke, tmp_path / "run"))


def back_to_training(run: Path, trial: str, lines: int) -> None:
    """As the trial was when it had logged so many lines."""
    folder = run / "trials" / trial
    for name in ("measurement.json", "model.safetensors", "samples.npz", "grid.png"):
        (folder / name).unlink()
    log = folder / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:lines]))


def test_a_finished_run(run: Path) -> None:
    state = Watch(run).state()
    assert state["finished"] and (state["done"], state["planned"], state["seconds_left"]) == (3, 3, 0)
    assert state["verdict"] == json.loads((run / "verdict.json").read_text())["headline"]
    opened = RunDir.open(run)
    for trial, shown in zip(opened.trials(), state["trials"], strict=True):
        losses = read_losses(trial.metrics)
        assert (shown["status"], shown["step"], shown["steps"]) == ("done", len(losses), opened.protocol.total_steps)
        assert shown["loss"] == pytest.approx(sum(losses[-10:]) / len(losses[-10:]))
        assert len(shown["curve"]) <= POINTS


def test_a_run_under_way(run: Path) -> None:
    for name in ("probes/step_time.json", "probes/sampling_time.json", "floor.json", "verdict.json"):
        (run / name).unlink()
    back_to_training(run, "hybrid-s0", 2)
    shutil.rmtree(run / "trials/transformer-s0")
    state = Watch(run).state()
    assert not state["finished"] and state["verdict"] is None and not any(state["parts"].values())
    found = {one["backbone"]: one for one in state["trials"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "mamba": "done",
        "transformer": "waiting",
        "hybrid": "training",
    }
    assert found["transformer"]["curve"] == [] and found["transformer"]["loss"] is None
    measured = RunDir.open(run).trial("mamba", 0).measurement()
    pace = measured.wall_s / found["mamba"]["steps"]
    left = 2 * found["mamba"]["steps"] - found["hybrid"]["step"]
    assert state["seconds_left"] == pytest.approx(pace * left, abs=1)


def test_time_left_is_unknown_until_something_moved(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    for trial in ("mamba-s0", "transformer-s0", "hybrid-s0"):
        back_to_training(run, trial, 1)
    watching = Watch(run)
    assert watching.state()["seconds_left"] is None
    with open(run / "trials/mamba-s0/metrics.jsonl", "a") as log:
        log.write(json.dumps({"step": 20, "losses": [1.0] * 10}) + "\n")
    clock[0] += 5.0
    state = watching.state()
    steps = [one["steps"] - one["step"] for one in state["trials"]]
    assert state["seconds_left"] == pytest.approx(sum(steps) * 5.0 / 10, abs=1)


def test_torn_lines_and_what_is_no_number_do_no_harm(run: Path) -> None:
    log = run / "trials/mamba-s0/metrics.jsonl"
    log.write_text('{"losses": [1.0, NaN, 2.0]}\n{"losses": [3.0]}\n{"losses": [4.')
    shown = Watch(run).state()["trials"][0]
    assert shown["step"] == 4 and shown["loss"] is None
    assert shown["curve"] == [(1.0, 1.0), (3.0, 2.0), (4.0, 3.0)]
    json.dumps(shown, allow_nan=False)


def test_a_directory_that_cannot_be_read_is_told(run: Path) -> None:
    (run / "trials/mamba-s0/measurement.json").write_text("{}")
    with pytest.raises(BakeoffError, match="not a measurement"):
        Watch(run).state()


def test_changes_and_problems_are_sent_and_a_late_comer_gets_everything(run: Path) -> None:
    with studio(run) as url, httpx.Client(base_url=url, timeout=30) as client:
        events = stream(client, "/api/live")
        assert next(events)[1]["done"] == 3
        back_to_training(run, "hybrid-s0", 1)
        name, state = next(events)
        assert (name, state["done"], state["trials"][2]["status"]) == ("state", 2, "training")
        assert next(stream(client, "/api/live")) == (name, state)
        measured = run / "trials/mamba-s0/measurement.json"
        kept = measured.read_text()
        measured.write_text("{}")
        name, problem = next(events)
        assert name == "problem" and "not a measurement" in problem["error"]
        measured.write_text(kept)
        assert next(events) == ("state", state)
