"""Damage: any byte of a checkpoint, any file of a trial; told, and made good from what is whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bakeoff.artefacts.base import read_items
from bakeoff.artefacts.images import Images
from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.files import write_atomic, write_json
from bakeoff.rundir.repair import check_trial, repair
from bakeoff.tasks import Dataset, build_task
from bakeoff.trial import worker
from bakeoff.trial.checkpoint import load_state, pack_state, save_model
from bakeoff.trial.plan import make_plan
from bakeoff.trial.resume import identity, resume_from_checkpoint
from bakeoff.trial.trainer import Trainer
from bakeoff.trial.worker import MetricsLog, WallClock
from blind import black

SETS = ["task.train_images=32", "training.batch=8", "training.steps=30", "bar.samples=8", "sampling.count=4"]
PROTOCOL = load_protocol("smoke", [*SETS, "sampling.steps=1"])
BACKBONE = PROTOCOL.backbones[2]
PLANNED = make_plan(PROTOCOL).of(BACKBONE.name)
OF = identity(RunDir(Path("run"), PROTOCOL), RunDir(Path("run"), PROTOCOL).trial(BACKBONE.name, 0))


@pytest.fixture(scope="module")
def data() -> Dataset:
    data = build_task(PROTOCOL).data(torch.device("cpu"))
    assert data is not None
    return data


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path, PROTOCOL)


@pytest.fixture
def trial(run: RunDir) -> TrialDir:
    found = run.trial(BACKBONE.name, 0)
    found.path.mkdir(parents=True)
    return found


def fresh(data: Dataset) -> Trainer:
    return Trainer(PLANNED.candidate, PLANNED.fit.widths, 0, data, torch.device("cpu"))


def train(trainer: Trainer, trial: TrialDir, stop_at: int | None = None) -> bool:
    """As the worker does, with a checkpoint every ten steps."""
    stop = lambda: trainer.step == stop_at  # noqa: E731
    return worker.train(trainer, trial, OF, stop, WallClock(0.0), 0.0)  # pyright: ignore[reportArgumentType]


def take(trial: TrialDir, data: Dataset) -> tuple[Trainer, list[str]]:
    said: list[str] = []
    trainer, _ = resume_from_checkpoint(trial, OF, lambda: fresh(data), said.append)
    return trainer, said


def test_every_flipped_byte_and_every_cut_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    whole = pack_state({"trainer": {"a": torch.arange(3.0)}})
    path.write_bytes(whole)
    assert torch.equal(load_state(path)["trainer"]["a"], torch.arange(3.0))
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BakeoffError, match="damaged"):
            load_state(path)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BakeoffError, match="damaged"):
            load_state(path)


def test_torch_alone_would_not_have_seen_it(tmp_path: Path) -> None:
    """Why there is a checksum: without it a flipped bit trains on in silence."""
    whole = pack_state({"a": torch.ones(64)})
    place = whole.index(torch.ones(64).numpy().tobytes())
    (tmp_path / "x").write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    assert not torch.equal(torch.load(tmp_path / "x", weights_only=True)["a"], torch.ones(64))


@pytest.mark.parametrize(
    "damaged,step,said",
    [
        ([], 25, []),
        (["resume"], 20, ["going on from the one before it"]),
        (["previous"], 25, []),
        (["resume", "previous"], 0, ["going on from the one before it", "going on from the start"]),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    trial: TrialDir, data: Dataset, damaged: list[str], step: int, said: list[str]
) -> None:
    whole = fresh(data)
    assert train(whole, trial)
    log, weights = trial.metrics.read_bytes(), [p.clone() for p in whole.parameters]
    for path in trial.path.iterdir():
        path.unlink()
    assert not train(fresh(data), trial, stop_at=25)
    for name in damaged:
        path = getattr(trial, name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    trainer, messages = take(trial, data)
    assert trainer.step == step and len(messages) == len(said)
    assert all(expected in message for expected, message in zip(said, messages, strict=True))
    assert train(trainer, trial)
    assert trial.metrics.read_bytes() == log
    assert all(torch.equal(a, b) for a, b in zip(trainer.parameters, weights, strict=True))


@pytest.mark.parametrize("content", [b"", b"{", b'{"step": 5}\n', b"\xff" * 99, b'{"step": 10, "losses": []}\n' * 9])
def test_a_damaged_log_is_written_anew_from_the_checkpoint(trial: TrialDir, data: Dataset, content: bytes) -> None:
    assert not train(fresh(data), trial, stop_at=17)
    good = trial.metrics.read_bytes()
    trial.metrics.write_bytes(content)
    trainer, said = take(trial, data)
    MetricsLog(trial.metrics, trainer)
    assert trial.metrics.read_bytes() == good and said == []


HOSTILE = {
    "nothing in it": lambda s: {},
    "another trial's": lambda s: s | {"of": "x"},
    "no trainer": lambda s: s | {"trainer": None},
    "step too far": lambda s: s | {"trainer": s["trainer"] | {"step": 31}},
    "step below zero": lambda s: s | {"trainer": s["trainer"] | {"step": -1}},
    "one loss for all": lambda s: s | {"trainer": s["trainer"] | {"losses": torch.zeros(1)}},
    "other weights": lambda s: s | {"trainer": s["trainer"] | {"model": {}}},
    "no optimiser": lambda s: s | {"trainer": s["trainer"] | {"optimiser": []}},
    "times in words": lambda s: s | {"trainer": s["trainer"] | {"times_ms": ["long"]}},
    "clock in words": lambda s: s | {"wall_s": "long"},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_checkpoint_of_something_else_is_not_taken_up(trial: TrialDir, data: Dataset, case: str) -> None:
    trainer = fresh(data)
    trainer.run(lambda *_: None, lambda: trainer.step == 5)
    state = {"trainer": trainer.state(), "wall_s": 1.0, "resumed": 0, "of": OF}
    write_atomic(trial.resume, pack_state(state))
    assert take(trial, data)[0].step == 5
    write_atomic(trial.resume, pack_state(HOSTILE[case](state)))
    taken, said = take(trial, data)
    assert taken.step == 0 and "cannot be used" in said[0] and not trial.resume.exists()
    assert all(torch.equal(a, b) for a, b in zip(taken.parameters, fresh(data).parameters, strict=True))


MEASURED = {
    "backbone": BACKBONE.name, "seed": 0, "status": "completed", "steps": 30, "loss": 1.0, "wall_s": 1.0,
    "accounted_s": {}, "params": 1, "flops_per_sample": 1, "state_bytes": 1, "device": "cpu", "precision": "fp32",
    "threads": 1,
}  # fmt: skip


def finish(run: RunDir, trial: TrialDir) -> None:
    write_json(trial.measurement_file, dict(MEASURED))
    write_atomic(trial.samples, black(PROTOCOL.samples_drawn))
    widths = PLANNED.fit.widths
    weights = PLANNED.candidate.blueprint.build(widths).state_dict()
    save_model(trial.model, weights, PROTOCOL, BACKBONE.name, widths)


DAMAGE = {
    "measurement cut": ("measurement.json", lambda b: b[:40]),
    "measurement empty": ("measurement.json", lambda b: b""),
    "measurement of another": ("measurement.json", lambda b: b.replace(b'"seed": 0', b'"seed": 1')),
    "measurement not finite": ("measurement.json", lambda b: b.replace(b'"loss": 1.0', b'"loss": NaN')),
    "measurement beyond floats": ("measurement.json", lambda b: b.replace(b'"loss": 1.0', b'"loss": 1e999')),
    "samples cut": ("samples.npz", lambda b: b[:-30]),
    "samples flipped": ("samples.npz", lambda b: b[:150] + bytes([b[150] ^ 1]) + b[151:]),
    "samples missing": ("samples.npz", lambda b: None),
    "weights cut": ("model.safetensors", lambda b: b[:-4]),
    "weights missing": ("model.safetensors", lambda b: None),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_finished_trial_with_damage_is_run_again(run: RunDir, trial: TrialDir, case: str) -> None:
    finish(run, trial)
    check_trial(trial)
    said: list[tuple[str, str]] = []
    repair(run, lambda *message: said.append(message))
    assert said == [] and trial.done
    name, damage = DAMAGE[case]
    content = damage((trial.path / name).read_bytes())
    if content is None:
        (trial.path / name).unlink()
    else:
        (trial.path / name).write_bytes(content)
    repair(run, lambda *message: said.append(message))
    ((where, message),) = said
    assert where == trial.name and name in message and "run again" in message and not trial.done


def test_leftovers_of_killed_writers_are_removed(run: RunDir, trial: TrialDir) -> None:
    finish(run, trial)
    for path in (run.path / ".seal.json.tmp", trial.path / ".samples.npz.tmp", trial.resume, trial.previous):
        path.write_bytes(b"x")
    repair(run, lambda *_: None)
    assert {path.name for path in run.path.iterdir()} == {"trials"}
    assert {path.name for path in trial.path.iterdir()} == {"measurement.json", "samples.npz", "model.safetensors"}


@pytest.mark.parametrize("name", ["probes/step_time.json", "environment.json"])
@pytest.mark.parametrize("content", ["", "[1]", '{"backbones": 3}', "[" * 100_000, "9" * 5000])
def test_damaged_records_of_the_run_are_made_again(run: RunDir, name: str, content: str) -> None:
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).write_text(content)
    said: list[str] = []
    repair(run, lambda where, _: said.append(where))
    kept = name == "environment.json" and content.startswith("{")  # a description for readers, of no fixed shape
    assert said == ([] if kept else [name]) and (run.path / name).exists() == kept


def test_samples_that_would_unpack_to_more_are_refused_before(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros((10_000, 28, 28), np.uint8))
    np.savez(tmp_path / "objects.npz", images=np.array([{}], object))
    np.savez(tmp_path / "floats.npz", images=np.zeros((1, 28, 28)))
    for name, reason in (("bomb", "7840128 bytes"), ("objects", "object"), ("floats", "float64")):
        with pytest.raises(BakeoffError, match=reason):
            read_items(tmp_path / f"{name}.npz", Images(), PROTOCOL.samples_drawn)
