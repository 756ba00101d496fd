"""Run directories from strangers, fuzzed: with any file damaged they are read or refused, and mended."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from damage import damaged_bytes, damaged_json, damaged_lines
from files import PROTOCOL, digits, safetensors_file, state_file
from fuzzing import COUNT, IN_BOTH_TIERS, bounded, read_or_refuse
from hypothesis import given
from rich.console import Console

from bakeoff.artefacts.base import pack_path
from bakeoff.artefacts.images import Images
from bakeoff.cli.listing import list_runs, show_listing
from bakeoff.cli.terminal import show_verdict, show_verification
from bakeoff.errors import BakeoffError
from bakeoff.execute.runner import write_seal
from bakeoff.judging.sessions import begin, cast, resume
from bakeoff.judging.store import read_record
from bakeoff.judging.tally import judgements
from bakeoff.judging.verdicts import sealed_verdict, verdict_json, verdict_of
from bakeoff.protocol.presets import dump_protocol
from bakeoff.protocol.verdict import Verdict
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import make_folder, write_atomic, write_json
from bakeoff.rundir.ledger import record, sealed_files
from bakeoff.rundir.repair import repair
from bakeoff.rundir.verify import verify
from bakeoff.tasks import inputs
from bakeoff.trial.plan import make_plan

IN_A_RUN = [
    "protocol.toml", "speed.json", "probes/step_time.json", "environment.json", "floor.json", "verdict.json",
    "seal.json", "log.jsonl",
    "trials/mamba-s0/measurement.json", "trials/hybrid-s1/measurement.json", "trials/hybrid-s1/metrics.jsonl",
    "trials/hybrid-s1/samples.npz", "trials/hybrid-s1/path.npz",
    "trials/hybrid-s1/model.safetensors", "trials/hybrid-s1/resume.ckpt",
]  # fmt: skip
REMOVED_BY_MENDING = [
    *IN_A_RUN[1:4], *(f"trials/{name}-s{seed}/{file}" for name in ("mamba", "transformer", "hybrid") for seed in (0, 1)
    for file in ("measurement.json", "resume.ckpt")),
]  # fmt: skip


def measured(backbone: str, seed: int) -> dict[str, Any]:
    """Of format 1 for the first seed, of format 2 for the others."""
    spread = {"median": 2.0, "p10": 1.0, "p90": 3.0, "count": 5}
    figures, detail = {"recognised": 0.9, "classes": 9, "frechet": 50.0, "sharpness": 1.0}, {"class_shares": [0.1]}
    quality = {"samples": 2, "figures": figures, "detail": detail} if seed else {"samples": 2, **figures, **detail}
    return ({"format": 2} if seed else {}) | {
        "backbone": backbone, "seed": seed, "status": "completed", "steps": 24, "loss": 0.5 + seed / 10,
        "quality": quality, "step_time_ms": spread, "memory": {"process_mib": 300.0}, "wall_s": 9.0,
        "accounted_s": {"data": 1.0}, "params": 4000, "flops_per_sample": 10, "state_bytes": 10, "device": "cpu",
        "precision": "fp32", "threads": 1, "notes": ["busy"],
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _inputs_read_once() -> Iterator[None]:
    """The shipped data are hashed for every verdict; here they do not change."""
    with pytest.MonkeyPatch.context() as patch:
        found = inputs(PROTOCOL)
        patch.setattr("bakeoff.rundir.sealed.inputs", lambda _: found)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run directory of six trials."""
    run = RunDir(tmp_path_factory.mktemp("runs") / "run", PROTOCOL)
    for trial in run.trials():
        trial.path.mkdir(parents=True)
        write_json(trial.measurement_file, measured(trial.backbone, trial.seed))
        trial.metrics.write_text(json.dumps({"step": 2, "lr": 0.1, "losses": [1.0, 0.9]}) + "\n")
        write_atomic(trial.samples, Images().pack(digits(PROTOCOL.samples_drawn)))
        write_atomic(trial.states, pack_path(Images(), [digits(2)] * 3))
        (trial.path / "model.safetensors").write_bytes(safetensors_file())
        trial.resume.write_bytes(state_file())
    (run.path / "protocol.toml").write_text(dump_protocol(PROTOCOL))
    spread = {"median": 2.0, "p10": 1.0, "p90": 3.0, "count": 5}
    figures = {"step_time_ms": spread, "sampling_time_s": spread, "nfe": 10}
    make_folder(run.path / "probes")
    candidates = {one.name: {"step_time_ms": spread} for one in PROTOCOL.backbones}
    write_json(run.probe_file("step_time"), {"probe": "step_time", "points": [{"candidates": candidates}]})
    write_json(run.speed, {"device": "cpu", "backbones": {one.name: figures for one in PROTOCOL.backbones}})
    write_json(run.environment, {"python": "3", "resumed_on": []})
    write_json(run.floor, {"value": 0.1, "stderr": 0.001, "draws": 10})
    write_json(run.verdict, verdict_json(run, verdict_of(run)))
    write_seal(run, make_plan(PROTOCOL))
    record(run, "all", sealed_files(run.path))
    for who in ("Ann", "Bob"):
        session = begin(run, who)
        for item in session.shown[: None if who == "Ann" else 2]:
            cast(run, session.id, item, "clean")
    return run.path


def read_run(path: Path) -> None:
    """Everything that reads a run directory; afterwards it is mended, and must then be read."""
    runs, shown = list_runs(path.parent), Console(file=io.StringIO(), width=200)
    json.dumps(runs, allow_nan=False)
    show_listing(shown, [], runs, path.parent)
    show_verification(shown, path, verify(path))
    try:
        show(*sealed_verdict(path), shown)
    except BakeoffError as error:
        refused = error
    else:
        refused = None
    run = RunDir.open(path)
    repair(run, lambda name, message: COUNT.update(["mended"]))
    show(*sealed_verdict(path), shown)
    if refused is not None:
        raise refused


def read_judgements(path: Path) -> None:
    """Whatever is in the record: what holds is counted, and the next person can begin."""
    run = RunDir(path.parent, PROTOCOL)
    found = judgements(run)
    assert all(note.isprintable() for note in found.notes) and len(found.agreement) == 2
    for name in read_record(run).records:
        with suppress(BakeoffError):
            assert len(resume(run, name).items) == 6
    assert begin(run, "Eve").left == 6
    for hidden in path.parent.glob(".judging-*"):
        hidden.unlink()


def show(run: RunDir, verdict: Verdict, shown: Console) -> None:
    json.dumps(verdict_json(run, verdict), allow_nan=False)
    show_verdict(shown, verdict)
    assert isinstance(shown.file, io.StringIO) and "\x1b" not in shown.file.getvalue()


@IN_BOTH_TIERS
@pytest.mark.parametrize("name", IN_A_RUN)
def test_a_run_with_a_damaged_file_is_read_or_refused_and_mended(
    name: str, whole: Path, folder: Path, examples: int
) -> None:
    good, path = (whole / name).read_bytes(), folder / "runs" / "run"
    damage = damaged_json(good) if name.endswith(".json") else damaged_bytes(good)
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)

    @bounded(examples)
    @given(damage)
    def fuzz(content: bytes) -> None:
        for there in REMOVED_BY_MENDING:
            shutil.copyfile(whole / there, path / there)
        (path / name).write_bytes(content)
        read_or_refuse(read_run, path)

    fuzz()


@IN_BOTH_TIERS
def test_a_damaged_record_of_judgements_is_read(whole: Path, folder: Path, examples: int) -> None:
    path = folder / f"judged {examples}" / "judgements.jsonl"
    shutil.copytree(whole, path.parent)
    good, hidden = (whole / path.name).read_bytes(), next(whole.glob(".judging-*"))

    @bounded(examples)
    @given(damaged_bytes(good) | damaged_lines(good))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        shutil.copyfile(hidden, path.parent / hidden.name)
        read_judgements(path)

    fuzz()


def test_a_good_run_is_read(whole: Path) -> None:
    """So that a refusal above means something."""
    read_run(whole)
