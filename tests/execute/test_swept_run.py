"""A run that begins with a sweep: every backbone is trained with its own best value, and everything says so."""

import json
import shutil
import tomllib
from pathlib import Path
from statistics import fmean

import pytest
import tomli_w
from safetensors import safe_open

from bakeoff.execute.local import Options
from bakeoff.execute.runner import execute, prepare
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.foreign_checkpoints import HEADER
from bakeoff.rundir.metrics_log import read_losses
from bakeoff.rundir.progress import Watch
from bakeoff.rundir.verify import verify
from bakeoff.trial.events import Chosen
from command import bakeoff
from small_recall import SETS

pytestmark = pytest.mark.slow
VALUES = (1e-3, 1e-2, 1.0)
SEED = 9
CHANGES = {**SETS, "training.clip": 1e6}
BACKBONES = 'backbones=[{name = "mamba", mixers = ["mamba"]}, {name = "transformer", mixers = ["attention"]}]'


def protocol_file(path: Path, **sweep: object) -> Path:
    """A small protocol of recall with this sweep."""
    document = load_protocol("recall-smoke", [BACKBONES, *(f"{key}={json.dumps(one)}" for key, one in CHANGES.items())])
    whole = document.document() | {"name": "swept", "sweep": {"values": VALUES, "seed": SEED, **sweep}}
    del whole["training"]["lr"]
    path.write_text(tomli_w.dumps(whole))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped after its sweep and was taken up again."""
    home = tmp_path_factory.mktemp("sweep")
    protocol_file(home / "swept.toml")
    done = bakeoff("run", "swept.toml", "--out", "run", "--sweep-only", "--threads", 1, cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "stdout").write_text(done.stdout)
    assert verify(home / "run").missing[:2] == ["mamba-s0", "transformer-s0"]
    done = bakeoff("run", "swept.toml", "--out", "run", "--resume", "--threads", 1, cwd=home)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "run", tmp_path / "run"))


def test_it_chose_by_the_held_out_losses_that_it_measured(home: Path) -> None:
    run = RunDir.open(home / "run")
    found = run.swept()
    assert found is not None and found.run is None and found.values == VALUES
    for name, one in found.choices.items():
        measured = [run.sweep_trial(name, value, SEED).measurement() for value in VALUES]
        assert [trial.seed for trial in measured] == [9] * 3 and [trial.swept for trial in measured] == list(VALUES)
        for trial, loss in zip(measured, one.losses, strict=True):
            assert loss == ("diverged" if trial.quality is None else trial.quality.figures["held_out_loss"])
        finite = [loss for loss in one.losses if not isinstance(loss, str)]
        assert one.losses[VALUES.index(one.value)] == min(finite)


def test_every_trial_was_trained_with_its_backbones_choice(home: Path) -> None:
    run = RunDir.open(home / "run")
    found = run.swept()
    assert found is not None
    for trial in run.trials():
        value = found.choices[trial.backbone].value
        assert trial.measurement().swept == value
        rates = [json.loads(line)["lr"] for line in trial.metrics.read_text().splitlines()]
        assert rates[-1] == pytest.approx(value)  # after the warm-up
        with safe_open(trial.model, "pt") as file:
            protocol = json.loads(file.metadata()[HEADER])["protocol"]
        assert protocol["training"]["lr"] == value and "sweep" not in protocol


def test_a_trial_is_that_of_the_protocol_with_the_value(home: Path, tmp_path: Path) -> None:
    """The oracle: an ordinary run whose learning rate is the chosen one has the same losses, bit for bit."""
    run = RunDir.open(home / "run")
    found = run.swept()
    assert found is not None
    value = found.choices["mamba"].value
    assert run.protocol.sweep is not None
    path = tmp_path / "plain.toml"
    document = tomllib.loads((home / "swept.toml").read_text())
    del document["sweep"]
    path.write_text(tomli_w.dumps(document | {"training": document["training"] | {"lr": value}}))
    done = bakeoff("run", path, "--out", tmp_path / "plain", "--threads", 1)
    assert done.returncode == 0, done.stderr
    plain = RunDir.open(tmp_path / "plain").trial("mamba", 0)
    assert read_losses(plain.metrics) == read_losses(run.trial("mamba", 0).metrics)


def test_verdict_verify_list_and_report_have_it(home: Path) -> None:
    run = home / "run"
    assert bakeoff("verify", run).returncode == 0
    shown = bakeoff("verdict", run)
    assert "Sweep of training.lr: held-out loss on seed 9" in shown.stdout
    verdict = json.loads(bakeoff("verdict", run, "--json").stdout)
    assert verdict["sweep"]["values"] == list(VALUES) and set(verdict["sweep"]["choices"]) == {"mamba", "transformer"}
    (listed,) = json.loads(bakeoff("ls", home, "--json").stdout)["runs"]
    assert (listed["trials_done"], listed["trials"]) == (8, 8)
    state = Watch(run).state()
    assert [one["label"] for one in state["trials"]][:4] == ["lr 0.001", "lr 0.001", "lr 0.01", "lr 0.01"]
    assert (state["done"], state["planned"], state["finished"]) == (8, 8, True)
    assert bakeoff("report", run).returncode == 0
    page = (run / "report/report.html").read_text()
    assert '<section id="sweep"' in page and "chose training.lr from 3 values" in page
    assert "## The sweep" in (run / "report/report.md").read_text() and (run / "report/figures/sweep.svg").is_file()


def test_what_it_prints_may_stand_in_a_protocol_and_gives_the_same_trials(home: Path, tmp_path: Path) -> None:
    printed = (home / "stdout").read_text()
    stated = tomllib.loads(printed[printed.index("[sweep.found]") : printed.index("CPU time")])["sweep"]["found"]
    known = {entry["hash"] for entry in map(json.loads, (home / "run/log.jsonl").read_text().splitlines())}
    assert stated["run"] in known
    path = protocol_file(tmp_path / "found.toml", found=stated)
    done = bakeoff("run", path, "--out", tmp_path / "found", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "another recipe" not in done.stdout and not (tmp_path / "found/sweep").exists()
    mine, theirs = RunDir.open(tmp_path / "found"), RunDir.open(home / "run")
    for trial in mine.trials():
        assert read_losses(trial.metrics) == read_losses(theirs.trial(trial.backbone, trial.seed).metrics)
    verdict = json.loads(bakeoff("verdict", tmp_path / "found", "--json").stdout)
    assert verdict["sweep"]["run"] == stated["run"]
    assert "by an earlier run" in bakeoff("verdict", tmp_path / "found").stdout
    refused = bakeoff("run", path, "--out", tmp_path / "found", "--sweep-only")
    assert refused.returncode == 2 and "has no sweep to run" in refused.stderr


def test_a_changed_sweep_is_told_by_verify_and_verdict(copied: Path) -> None:
    run = RunDir.open(copied)
    found = run.swept()
    assert found is not None
    worse = next(value for value in VALUES[:2] if value != found.choices["mamba"].value)
    path = run.sweep_trial("mamba", worse, SEED).measurement_file
    document = json.loads(path.read_text())
    document["quality"]["figures"]["held_out_loss"] = 0.0
    path.write_text(json.dumps(document))
    assert verify(copied).outcome == "changed"
    shown = bakeoff("verdict", copied)
    assert shown.returncode == 3 and "DEVIATED" in shown.stdout.upper()
    assert f"the sweep found {worse:g}" in " ".join(shown.stdout.split())


def test_with_more_seeds_the_mean_of_each_value_counts(tmp_path: Path) -> None:
    path = protocol_file(tmp_path / "twice.toml", more_seeds=[11])
    done = bakeoff("run", path, "--out", tmp_path / "run", "--sweep-only", "--threads", 1)
    assert done.returncode == 0, done.stderr
    run = RunDir.open(tmp_path / "run")
    found = run.swept()
    assert found is not None and found.seeds == (SEED, 11)
    for name, one in found.choices.items():
        both = [[run.sweep_trial(name, value, seed).measurement() for seed in found.seeds] for value in VALUES]
        assert [[trial.seed for trial in tried] for tried in both] == [[SEED, 11]] * 3
        losses = [[trial.quality.figures["held_out_loss"] for trial in tried if trial.quality] for tried in both]
        assert one.losses == tuple(fmean(each) if len(each) == 2 else "diverged" for each in losses)
        assert losses[0][0] != losses[0][1]
    assert "held-out loss on seeds 9, 11 (mean)" in done.stdout


def test_a_loss_that_is_not_finite_counts_as_diverged(copied: Path) -> None:
    """The worker leaves such a figure out of the measurement."""
    run = RunDir.open(copied)
    found = run.swept()
    assert found is not None
    best = found.choices["mamba"].value
    path = run.sweep_trial("mamba", best, SEED).measurement_file
    document = json.loads(path.read_text())
    del document["quality"]["figures"]["held_out_loss"]
    path.write_text(json.dumps(document))
    again = run.swept()
    assert again is not None and again.choices["mamba"].value != best
    assert again.choices["mamba"].losses[VALUES.index(best)] == "diverged"


def test_a_lost_trial_of_the_sweep_is_run_again_with_the_same_bits(copied: Path) -> None:
    run = RunDir.open(copied)
    trial = run.sweep_trial("transformer", VALUES[1], SEED)
    before = read_losses(trial.metrics)
    shutil.rmtree(trial.path)
    assert run.swept() is None and verify(copied).outcome == "changed"
    assert "the sweep is not whole" in bakeoff("verdict", copied).stdout
    heard: list[object] = []
    verdict = execute(
        prepare(copied, run.protocol, resume=True), Options(threads=1), lambda name, event: heard.append((name, event))
    )
    assert read_losses(trial.metrics) == before and verdict.sweep == run.swept()
    assert any(isinstance(event, Chosen) for _, event in heard)  # pyright: ignore[reportGeneralTypeIssues]
    assert verify(copied).outcome == "whole"
