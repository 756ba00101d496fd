"""The loaders of files from strangers, fuzzed: whatever is in a file, it is read or refused with a clear error.

BAKEOFF_FUZZ is the number of examples for each way of damaging a file, in the slow tier; `make fuzz` runs many.
"""

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from damage import damaged_bytes, damaged_document, damaged_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import save

from bakeoff.artefacts.base import Items, Kind, pack_path, read_items, read_path
from bakeoff.artefacts.images import Images
from bakeoff.artefacts.text import Text
from bakeoff.cli.auditing import audit_json
from bakeoff.cli.listing import list_runs, show_listing
from bakeoff.cli.terminal import show_verdict, show_verification
from bakeoff.errors import BakeoffError
from bakeoff.execute.runner import write_seal
from bakeoff.judging.sessions import begin, cast, resume
from bakeoff.judging.store import read_record
from bakeoff.judging.tally import judgements
from bakeoff.judging.verdicts import sealed_verdict, verdict_json, verdict_of
from bakeoff.protocol.audit.checks import LossFloor, audit
from bakeoff.protocol.audit.published import load_table
from bakeoff.protocol.presets import PRESETS, dump_protocol, load_protocol
from bakeoff.protocol.verdict import Verdict
from bakeoff.run.directory import RunDir
from bakeoff.run.files import make_folder, write_atomic, write_json
from bakeoff.run.foreign_checkpoints import HEADER
from bakeoff.run.ledger import record, sealed_files
from bakeoff.run.repair import repair
from bakeoff.run.verify import verify
from bakeoff.tasks import build_task, inputs
from bakeoff.trial.candidate import candidate_of
from bakeoff.trial.checkpoint import load_model, load_state, pack_state, save_model
from bakeoff.trial.plan import make_plan
from tiers import slow

FEW, EXAMPLES = 5, int(os.environ.get("BAKEOFF_FUZZ", "100"))
SMALL = ["model.d_model=8", "mixers.mamba.d_state=2", "mixers.attention.heads=2", "budget.params=4000"]
SMALL += ["budget.tolerance=2.0", "bar.samples=2", "sampling.count=2", "seeds=[0, 1]"]
PROTOCOL = load_protocol("smoke", SMALL)
HYBRID = PROTOCOL.backbones[2]
CANDIDATE = candidate_of(build_task(PROTOCOL), HYBRID)
WIDTHS = {"mamba": 8, "attention": 8, "mlp": 8}
TABLE = Path(__file__).parents[2] / "examples" / "published.toml"
COUNT: Counter[str] = Counter()


@dataclass(frozen=True)
class Loader:
    """A kind of file: good ones, how they are damaged, and what reads them."""

    name: str
    good: Callable[[], bytes]
    damage: Callable[[bytes], st.SearchStrategy[bytes]]
    load: Callable[[Path], object]
    suffix: str = ""


# ---- protocols


def damaged_toml(content: bytes) -> st.SearchStrategy[bytes]:
    import tomllib

    def written(document: Any) -> bytes:
        try:
            return tomli_w.dumps(document).encode(errors="surrogatepass")
        except (TypeError, ValueError, AttributeError):  # has no form in TOML
            return b""

    return damaged_document(tomllib.loads(content.decode())).map(written)


def read_protocol(path: Path) -> None:
    protocol = load_protocol(str(path))
    assert load_protocol_again(protocol) == protocol.digest()


def load_protocol_again(protocol: Any) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(dump_protocol(protocol))
        file.flush()
        return load_protocol(file.name).digest()


# ---- checkpoints


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return CANDIDATE.blueprint.build(WIDTHS).state_dict()


def safetensors_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "x.safetensors", weights(), PROTOCOL, HYBRID.name, WIDTHS)
        return (Path(folder) / "x.safetensors").read_bytes()


def header() -> bytes:
    return json.dumps(
        {"protocol": PROTOCOL.model_dump(mode="json"), "backbone": HYBRID.name, "widths": WIDTHS}
    ).encode()


def with_header(content: bytes) -> bytes:
    return save(weights(), metadata={HEADER: content.decode(errors="replace")})


def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": weights(), HEADER: header().decode(), "epoch": 3}, buffer)
    return buffer.getvalue()


def damaged_archive(content: bytes) -> st.SearchStrategy[bytes]:
    """One entry damaged, with all checksums right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}

    def packed(name: str, damaged: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for entry, whole in entries.items():
                out.writestr(entry, damaged if entry == name else whole)
        return buffer.getvalue()

    names = st.sampled_from([*entries, *[name for name in entries if name.endswith(".pkl")] * 40])
    return names.flatmap(lambda name: damaged_bytes(entries[name]).map(lambda damaged: packed(name, damaged)))


def state_file() -> bytes:
    return pack_state({"trainer": {"model": weights(), "step": 3}, "wall_s": 1.0, "resumed": 0, "of": "x"})


def resealed(content: bytes) -> st.SearchStrategy[bytes]:
    """A stranger can make the checksum right."""
    from hashlib import sha256

    return damaged_archive(content).map(lambda damaged: damaged + b"sha256:" + sha256(damaged).hexdigest().encode())


def read_table(path: Path) -> None:
    table = load_table(str(path))
    json.dumps(audit_json(table, audit(table, LossFloor(0.08, "given"))), allow_nan=False)


# ---- items


def digits(count: int) -> Items:
    images = np.random.default_rng(0).integers(0, 255, (count, 28, 28), np.uint8)
    return Items({"images": images, "labels": np.arange(count, dtype=np.uint8)})


def answers(count: int) -> Items:
    texts = np.array([f"{i} + {i} = {2 * i}" for i in range(count)])
    return Items({"text": texts, "input": texts, "truth": texts, "right": np.arange(count) % 2 == 0})


def read_and_show(kind: Kind, count: int | None) -> Callable[[Path], None]:
    """What is read is of the kind: it can be drawn, shown, told apart and written again."""

    def read(path: Path) -> None:
        items = read_items(path, kind, count)
        assert count in (None, len(items)) and max(kind.sheet(items).size) < 1 << 14
        assert "\x1b" not in json.dumps([kind.cell(items, i) for i in range(len(items))])
        again = kind.unpack(kind.pack(items), count)
        assert kind.digest(items, 0, len(items)) == kind.digest(again, 0, len(items))

    return read


def read_states(path: Path) -> None:
    assert all(len(state) == 2 for state in read_path(path, Images(), 2))


def damaged_lines(content: bytes) -> st.SearchStrategy[bytes]:
    """Wrong values in lines that are JSON."""
    return damaged_document([json.loads(line) for line in content.splitlines()]).map(
        lambda lines: b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    )


# ---- run directories


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
        patch.setattr("bakeoff.run.sealed.inputs", lambda _: found)
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
        (trial.path / "model.safetensors").write_bytes(safetensors_file())
        trial.resume.write_bytes(state_file())
    (run.path / "protocol.toml").write_text(dump_protocol(PROTOCOL))
    spread = {"median": 2.0, "p10": 1.0, "p90": 3.0, "count": 5}
    figures = {"step_time_ms": spread, "sampling_time_s": spread, "nfe": 10}
    make_folder(run.path / "probes")
    spread = {"median": 2.0, "p10": 1.0, "p90": 3.0, "count": 5}
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


# ---- all


LOADERS = [
    Loader("protocol, bytes", lambda: (PRESETS / "smoke.toml").read_bytes(), damaged_bytes, read_protocol, ".toml"),
    Loader("protocol, values", lambda: (PRESETS / "smoke.toml").read_bytes(), damaged_toml, read_protocol, ".toml"),
    Loader("checkpoint, safetensors", safetensors_file, damaged_bytes, load_model, ".safetensors"),
    Loader(
        "checkpoint, its header", header, lambda good: damaged_json(good).map(with_header), load_model, ".safetensors"
    ),
    Loader("checkpoint, torch", torch_file, damaged_bytes, load_model, ".pt"),
    Loader("checkpoint, torch with right checksums", torch_file, damaged_archive, load_model, ".pt"),
    Loader("checkpoint to resume from", state_file, damaged_bytes, load_state, ".ckpt"),
    Loader("checkpoint to resume from, resealed", lambda: state_file()[:-71], resealed, load_state, ".ckpt"),
    Loader("images", lambda: Images().pack(digits(3)), damaged_bytes, read_and_show(Images(), 3), ".npz"),
    Loader("images, right checksums", lambda: Images().pack(digits(3)), damaged_archive, read_and_show(Images(), 3)),
    Loader("text", lambda: Text().pack(answers(3)), damaged_bytes, read_and_show(Text(), 3), ".jsonl"),
    Loader("text, values", lambda: Text().pack(answers(3)), damaged_lines, read_and_show(Text(), 3), ".jsonl"),
    Loader("path", lambda: pack_path(Images(), [digits(2)] * 3), damaged_archive, read_states, ".npz"),
    Loader("table, bytes", lambda: TABLE.read_bytes(), damaged_bytes, read_table, ".toml"),
    Loader("table, values", lambda: TABLE.read_bytes(), damaged_toml, read_table, ".toml"),
]  # fmt: skip
IN_A_RUN = [
    "protocol.toml", "speed.json", "probes/step_time.json", "environment.json", "floor.json", "verdict.json",
    "seal.json", "log.jsonl",
    "trials/mamba-s0/measurement.json", "trials/hybrid-s1/measurement.json", "trials/hybrid-s1/metrics.jsonl",
    "trials/hybrid-s1/samples.npz", "trials/hybrid-s1/model.safetensors", "trials/hybrid-s1/resume.ckpt",
]  # fmt: skip
REMOVED_BY_MENDING = [
    *IN_A_RUN[1:4], *(f"trials/{name}-s{seed}/{file}" for name in ("mamba", "transformer", "hybrid") for seed in (0, 1)
    for file in ("measurement.json", "resume.ckpt")),
]  # fmt: skip
IN_BOTH_TIERS = pytest.mark.parametrize("examples", [FEW, slow(EXAMPLES)])


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples <= 1000,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("fuzz")
    refused, read, mended = (COUNT[what] for what in ("refused", "read", "mended"))
    print(f"\nfuzzed: {refused + read} damaged files, {refused} refused, {read} read; {mended} times a run was mended")


def read_or_refuse(load: Callable[[Path], object], path: Path) -> None:
    try:
        load(path)
        COUNT["read"] += 1
    except BakeoffError as error:
        str(error).encode()  # can be printed
        assert len(str(error)) < 20_000
        COUNT["refused"] += 1


@IN_BOTH_TIERS
@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
def test_a_damaged_file_is_read_or_refused(loader: Loader, folder: Path, examples: int) -> None:
    good, path = loader.good(), folder / f"x{loader.suffix}"

    @bounded(examples)
    @given(loader.damage(good))
    def fuzz(content: bytes) -> None:
        path.write_bytes(content)
        read_or_refuse(loader.load, path)

    fuzz()


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


def test_good_files_are_read(whole: Path, folder: Path) -> None:
    """So that a refusal above means something."""
    for loader in LOADERS:
        path = folder / f"good{loader.suffix}"
        content = loader.good()
        path.write_bytes(with_header(content) if "header" in loader.name else content)
        if "resealed" not in loader.name:
            loader.load(path)
    read_run(whole)
