"""The whole chain as a user runs it: run, verdict, sample, resume after a stop and after a kill."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import moments
from command import COMMAND, bakeoff

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ONE = 'backbones=[{name="hybrid", mixers=["mamba", "attention", "mlp"]}]'
SHORT = ["--set", "training.steps=60", "--set", "training.ema=0.9", "--set", ONE]


def test_smoke_leaves_a_whole_run_directory(smoke: Path) -> None:
    for name in (
        "protocol.toml",
        "seal.json",
        "environment.json",
        "probes/step_time.json",
        "verdict.json",
        "samples.png",
        "report/report.html",
    ):
        assert (smoke / name).is_file(), name
    for backbone in ("mamba", "transformer", "hybrid"):
        trial = smoke / "trials" / f"{backbone}-s0"
        assert {path.name for path in trial.iterdir()} == {
            "metrics.jsonl",
            "model.safetensors",
            "samples.npz",
            "path.npz",
            "grid.png",
            "measurement.json",
        }
        steps = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
        losses = [loss for line in steps for loss in line["losses"]]
        assert len(losses) == 24 and steps[-1]["step"] == 24
        measurement = json.loads((trial / "measurement.json").read_text())
        last = losses[-4:]  # a fifth of 24 steps; all batches are full here
        assert measurement["loss"] == pytest.approx(np.mean(last), rel=1e-6)
        assert measurement["nfe"] == 10 and measurement["status"] == "completed"
        assert measurement["memory"]["process_mib"] > 100
        with np.load(trial / "samples.npz") as samples:
            assert samples["images"].shape == (64, 28, 28) and samples["labels"][:3].tolist() == [0, 1, 2]
        assert Image.open(trial / "grid.png").size[0] > 200


def test_verdict_json_gives_every_backbone_an_outcome_and_the_steps(smoke: Path) -> None:
    done = bakeoff("verdict", smoke, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["outcome"] in ("winner", "inconclusive", "all_eliminated")
    assert set(verdict["backbones"]) == {"mamba", "transformer", "hybrid"}
    for result in verdict["backbones"].values():
        assert result["outcome"] in ("won", "lost", "tied", "eliminated", "inconclusive") and result["reason"]
    assert {step["backbone"] for step in verdict["steps"]} >= set(verdict["backbones"])
    assert verdict == json.loads((smoke / "verdict.json").read_text())


@pytest.mark.slow
def test_a_part_of_a_run_is_incomplete_with_an_answer_so_far(smoke: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    subprocess.run(["cp", "-r", smoke, part], check=True)
    shutil.rmtree(part / "probes")
    verdict = json.loads(bakeoff("verdict", part, "--json").stdout)
    assert verdict["outcome"] == "incomplete" and verdict["missing"] == ["probes"]
    assert verdict["so_far"]["outcome"] == "all_eliminated"
    assert {one["outcome"] for one in verdict["so_far"]["backbones"].values()} == {"eliminated"}
    assert {one["outcome"] for one in verdict["backbones"].values()} == {"inconclusive"}
    assert any("probes have not run" in note for note in verdict["notes"])
    (part / "trials/hybrid-s0/measurement.json").unlink()
    verdict = json.loads(bakeoff("verdict", part, "--json").stdout)
    assert verdict["outcome"] == "incomplete" and verdict["missing"] == ["hybrid-s0"]


@pytest.mark.slow
def test_another_protocol_or_a_second_start_is_refused(smoke: Path) -> None:
    before = {path: path.read_bytes() for path in smoke.rglob("*") if path.is_file()}
    other = bakeoff("run", "smoke", "--set", "training.lr=1e-4", "--out", smoke, "--resume")
    assert other.returncode == 2 and "another protocol" in other.stderr
    again = bakeoff("run", "smoke", "--out", smoke)
    assert again.returncode == 2 and "--resume" in again.stderr
    assert before == {path: path.read_bytes() for path in smoke.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_resuming_a_whole_run_trains_nothing(smoke: Path) -> None:
    before = (smoke / "trials/mamba-s0/measurement.json").read_bytes()
    done = bakeoff("run", "smoke", "--out", smoke, "--resume", "--threads", 1)
    assert done.returncode == 0 and "done before" in done.stdout
    assert (smoke / "trials/mamba-s0/measurement.json").read_bytes() == before


@pytest.mark.slow
def test_sample_draws_the_same_picture_from_the_same_seed(smoke: Path, tmp_path: Path) -> None:
    model = smoke / "trials/mamba-s0/model.safetensors"
    options = ["--label", 3, "--count", 9, "--steps", 4]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        done = bakeoff("sample", model, *options, "--seed", seed, "--out", tmp_path / f"{name}.png")
        assert done.returncode == 0, done.stderr
        assert "9 samples, steps 4, solver euler, guidance 2.0, 8 evaluations each" in done.stdout
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    refused = bakeoff("sample", model, "--label", 10, "--out", tmp_path / "d.png")
    assert refused.returncode == 2 and "--label 10; allowed: 0 to 9" in refused.stderr
    refused = bakeoff("sample", model, "--solver", "ancestral", "--out", tmp_path / "d.png")
    assert refused.returncode == 2 and "they are of objective ddpm" in refused.stderr


@pytest.mark.slow
def test_a_page_of_images_says_what_the_run_gave(smoke: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/images_results.py"), "emoji", str(smoke), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page, measured = (tmp_path / "emoji.md").read_text(), json.loads((tmp_path / "emoji.json").read_text())
    assert "all eliminated" in page and "bakeoff run smoke" in page and "| real | " in page
    assert len(measured["runs"][0]["trials"]) == 3
    assert (tmp_path / "emoji-smoke.png").read_bytes() == (smoke / "samples.png").read_bytes()


@pytest.mark.slow
def test_ls_and_doctor(smoke: Path) -> None:
    listed = json.loads(bakeoff("ls", smoke.parent, "--json").stdout)
    assert {"mnist-paper", "mnist-quick", "recall-quick", "tracking-quick"} <= {
        preset["name"] for preset in listed["presets"]
    }
    (run,) = (run for run in listed["runs"] if run["path"] == str(smoke))
    assert run["status"] == "complete" and run["trials_done"] == run["trials"] == 3
    found = json.loads(bakeoff("doctor", "--json").stdout)
    assert all(found["kernels"][name]["backend"] for name in ("selective_scan", "causal_conv", "ssd"))
    assert found["environment"]["torch"]


@pytest.mark.slow
def test_plan_json_contract() -> None:
    done = bakeoff("plan", "mnist-paper", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["tokens"] == 196 and len(plan["digest"]) == 64 and plan["estimate"]["total_s"] > 0
    assert [backbone["name"] for backbone in plan["backbones"]] == ["mamba", "transformer", "hybrid"]
    counts = [backbone["params"] for backbone in plan["backbones"]]
    assert max(counts) / min(counts) <= 1.10
    for backbone in plan["backbones"]:
        assert set(backbone["knob"]) == {"name", "value"} and backbone["flops_per_sample"] > 1e8
        assert backbone["state_bytes"] > 0
    assert len(plan["trials"]) == 3


def results(out: Path) -> dict[str, object]:
    """All that must not depend on how often a run was interrupted."""
    trial = out / "trials/hybrid-s0"
    measurement = json.loads((trial / "measurement.json").read_text())
    lines = (trial / "metrics.jsonl").read_text().splitlines()
    return {
        "loss": measurement["loss"],
        "quality": measurement["quality"],
        "losses": [loss for line in lines for loss in json.loads(line)["losses"]],
        "weights": hashlib.sha256((trial / "model.safetensors").read_bytes()).hexdigest(),
        "grid": (trial / "grid.png").read_bytes(),
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("whole") / "run"
    done = bakeoff("run", "smoke", *SHORT, "--out", out, "--threads", 1)
    assert done.returncode == 0, done.stderr
    return results(out)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


def start(out: Path, *more: str, environment: dict[str, str] | None = None) -> subprocess.Popen:
    arguments = [
        *COMMAND,
        "run",
        "smoke",
        *SHORT,
        "--out",
        str(out),
        "--threads",
        "1",
        "--checkpoint-every",
        "0",
        *more,
    ]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_resume_ends_bit_for_bit_alike(tmp_path: Path, uninterrupted) -> None:
    out, trial = tmp_path / "run", tmp_path / "run/trials/hybrid-s0"
    at_the_first_checkpoint = moments.when(trial, trial / "resume.ckpt", moments.INTERRUPT, tmp_path / "hook")
    process = start(out, environment=at_the_first_checkpoint)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "--resume" in errors and "Traceback" not in errors
    assert not (out / "trials/hybrid-s0/measurement.json").exists()
    done = bakeoff("run", "smoke", *SHORT, "--out", out, "--threads", 1, "--resume")
    assert done.returncode == 0, done.stderr
    assert results(out) == uninterrupted


@pytest.mark.slow
def test_a_run_whose_command_alone_is_killed_loses_nothing_and_is_never_run_twice(
    tmp_path: Path, uninterrupted
) -> None:
    """The orphaned trial stops by itself and holds the directory until it has."""
    out = tmp_path / "run"
    process = start(out)
    wait_for(out / "trials/hybrid-s0/resume.ckpt", process)
    process.kill()
    process.wait()
    done = bakeoff("run", "smoke", *SHORT, "--out", out, "--threads", 1, "--resume")
    assert done.returncode == 0, done.stderr
    assert results(out) == uninterrupted


@pytest.mark.slow
def test_two_runs_cannot_share_a_directory(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, "--set", "training.steps=100000")
    wait_for(out / "trials/hybrid-s0/resume.ckpt", process)
    other = bakeoff("run", "smoke", *SHORT, "--set", "training.steps=100000", "--out", out, "--resume")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert other.returncode == 2 and "another run is working" in other.stderr
    assert process.returncode == 1 and "Nothing is lost" in errors


@pytest.mark.slow
def test_a_diverged_trial_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    two = 'backbones=[{name="first", mixers=["mlp"], repeats=2}, {name="second", mixers=["attention", "mlp"]}]'
    hot = ["--set", "training.precision=fp16", "--set", "training.lr=1.0", "--set", two]
    done = bakeoff("run", "smoke", *hot, "--out", out, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "first-s0: diverged at step" in done.stdout and "second-s0: " in done.stdout
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["outcome"] == "all_eliminated"
    assert not verdict["backbones"]["first"]["seeds"][0]["completed"]
    assert (out / "trials/second-s0/measurement.json").is_file()


@pytest.mark.slow
def test_a_plug_in_is_a_candidate_like_any_other(tmp_path: Path) -> None:
    """The shipped example, judged beside the built-in backbones; without leave its code is not run."""
    example = ["run", "gated_recurrence.toml", "--out", tmp_path / "run", "--threads", 1]
    refused = bakeoff(*example, cwd=EXAMPLES)
    assert refused.returncode == 2 and "--allow-plugins" in refused.stderr
    assert not (tmp_path / "run").exists()
    done = bakeoff(*example, "--allow-plugins", cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(bakeoff("verdict", tmp_path / "run", "--json").stdout)
    assert list(verdict["backbones"]) == ["mamba", "transformer", "hybrid", "recurrence"]
    assert verdict["backbones"]["recurrence"]["outcome"] in ("won", "lost", "tied", "eliminated")
    model = tmp_path / "run/trials/recurrence-s0/model.safetensors"
    picture = ["sample", model, "--count", 4, "--out", tmp_path / "x.png"]
    assert bakeoff(*picture, cwd=EXAMPLES).returncode == 2
    assert bakeoff(*picture, "--allow-plugins", cwd=EXAMPLES).returncode == 0


@pytest.mark.slow
def test_check_plugin_says_what_fails(tmp_path: Path) -> None:
    good = bakeoff("check-plugin", "gated_recurrence:GatedRecurrence", "--option", "slowest=0.9", cwd=EXAMPLES)
    assert good.returncode == 0 and "FAILS" not in good.stdout
    (tmp_path / "bad.py").write_text("from torch import nn\nclass Bad(nn.Linear):\n    pass\n")
    bad = bakeoff("check-plugin", "bad:Bad", "--json", cwd=tmp_path)
    assert bad.returncode == 1
    failed = [check["name"] for check in json.loads(bad.stdout)["checks"] if not check["passed"]]
    assert "maps (B, L, D) to (B, L, D)" in failed or "the width widens it" in failed
    assert bakeoff("check-plugin", "bad:Worse", cwd=tmp_path).returncode == 2


REFUSED = {
    "unknown preset": (["plan", "mnist-quik"], "did you mean mnist-quick"),
    "unknown key": (["run", "smoke", "--set", "training.lrr=1"], "did you mean lr?"),
    "no protocol": (["run"], "Missing argument"),
    "unmatchable": (["plan", "smoke", "--set", "budget.params=1000"], "Nearest reachable"),
    "no run": (["verdict", "nowhere"], "no such run directory"),
    "not a run": (["verdict", "."], "holds no protocol.toml"),
    "no checkpoint": (["sample", "nowhere.safetensors"], "no such checkpoint"),
    "bad data": (["run", "smoke", "--data-dir", "nowhere"], "no such folder"),
    "bad device": (["run", "smoke", "--device", "toaster"], "no such device"),
    "out is a file": (["run", "smoke", "--out", "file"], "is a file"),
    "out is full": (["run", "smoke", "--out", "full"], "not empty"),
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments,expected", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_exit_code_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    done = bakeoff(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_help_teaches_without_importing_torch() -> None:
    code = "import sys; sys.argv = ['bakeoff', '--help']\nfrom bakeoff.cli import app\n"
    code += "try: app()\nexcept SystemExit: pass\nprint('torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False False\n") and "mnist-quick" in done.stdout
