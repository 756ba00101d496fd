"""A run in pieces of bounded time: whole trials only, an honest partial run between them, and the same end."""

import json
import time
from pathlib import Path

import pytest

from bakeoff.execute.deadline import OutOfTime, expected_s
from bakeoff.execute.local import Options
from bakeoff.execute.runner import execute, prepare
from bakeoff.protocol.presets import load_protocol
from command import bakeoff
from tiny_run import SETS, finish, results


def hear(name: str, event: dict) -> None:
    pass


@pytest.mark.slow
def test_no_time_begins_nothing(tmp_path: Path) -> None:
    code, errors = finish(tmp_path / "run", "--minutes", "0.0001")
    assert code == 1 and "Traceback" not in errors
    assert "0 of 1 trials are done" in errors and "hybrid-s0 was not begun" in errors and "--resume" in errors
    assert not (tmp_path / "run/trials").exists()


@pytest.mark.slow
def test_a_run_in_pieces_holds_whole_trials_and_ends_as_in_one(tmp_path: Path, undisturbed: dict) -> None:
    two_seeds, out = "seeds=[0, 1]", tmp_path / "run"
    run = prepare(out, load_protocol("smoke", [*SETS, two_seeds]), resume=False)
    with pytest.raises(OutOfTime, match=r"1 of 2 trials are done; hybrid-s1 was not begun"):
        # time enough to begin the first, and less than any process with torch takes
        execute(run, Options(threads=1, deadline=time.monotonic() + 2), hear)
    assert not (out / "trials/hybrid-s1").exists()
    partial = json.loads(bakeoff("verdict", out, "--json").stdout)
    assert partial["outcome"] == "incomplete" and "hybrid-s1" in partial["missing"]
    assert bakeoff("verify", out).returncode == 1
    code, errors = finish(out, "--set", two_seeds, "--resume", "--minutes", "60")
    assert code == 0, errors
    assert bakeoff("verify", out).returncode == 0
    first, whole = results(out), undisturbed
    assert all(first[one] == whole[one] for one in ("losses", "images", "scores", "loss"))


def test_what_a_trial_will_take_is_what_the_longest_finished_one_like_it_took(whole_run: Path, tmp_path: Path) -> None:
    made = json.loads((whole_run / "trials/hybrid-s0/measurement.json").read_text())
    three = 'backbones=[{name="a", mixers=["mlp"]}, {name="b", mixers=["attention", "mlp"]}]'
    run = prepare(tmp_path / "run", load_protocol("smoke", [three, "seeds=[0, 1, 2]"]), resume=False)
    assert expected_s(run, run.trial("a", 0), "cpu") == 0.0
    for backbone, seed, wall_s, status in (
        ("a", 0, 5.0, "completed"),
        ("a", 1, 7.0, "completed"),
        ("a", 2, 90.0, "diverged"),
    ):
        trial = run.trial(backbone, seed)
        trial.path.mkdir(parents=True)
        record = made | {"backbone": backbone, "seed": seed, "wall_s": wall_s, "status": status}
        trial.measurement_file.write_text(json.dumps(record))
    assert expected_s(run, run.trial("b", 0), "cpu") == 7.0
    assert expected_s(run, run.trial("b", 0), "cuda") == 0.0
    trial = run.trial("b", 0)
    trial.path.mkdir(parents=True)
    trial.measurement_file.write_text(json.dumps(made | {"backbone": "b", "wall_s": 2.0}))
    assert expected_s(run, run.trial("b", 1), "cpu") == 2.0
