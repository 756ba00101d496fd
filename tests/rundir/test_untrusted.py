"""Files from strangers: no link out of a run, no archive that grows, no model that no machine holds, no code."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bakeoff.errors import BakeoffError, printable
from bakeoff.protocol.presets import dump_protocol, load_protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import read_json
from bakeoff.rundir.foreign_checkpoints import HEADER, read_checkpoint
from bakeoff.trial.checkpoint import load_model, load_state, pack_state
from bakeoff.trial.plan import make_plan
from tiny_run import TRIAL, finish


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.mark.parametrize(
    "name", ["protocol.toml", "verdict.json", ".lock", "trials", "trials/other-s0", f"trials/{TRIAL}/measurement.json"]
)
@pytest.mark.parametrize("target", ["outside", "../outside", "/etc/hostname", "nowhere"])
def test_links_in_a_run_directory_are_refused(run: Path, name: str, target: str) -> None:
    (run.parent / "outside").mkdir()
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    with pytest.raises(BakeoffError, match=r"is a link|holds no protocol.toml|not valid TOML"):
        RunDir.open(run)


@pytest.mark.slow
def test_nothing_is_written_through_a_link(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(run / "trials", outside)
    (run / "trials").symlink_to(outside)
    before = sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))
    code, errors = finish(run, "--resume")
    assert code == 2 and "is a link" in errors
    assert before == sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))
    (run / "trials").unlink()
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(tmp_path / "made")
    assert finish(run, "--resume")[0] == 2 and not (tmp_path / "made").exists()


def test_a_pipe_in_a_run_directory_is_not_waited_for(run: Path) -> None:
    os.mkfifo(run / "pipe")
    with pytest.raises(BakeoffError, match="neither a file nor a folder"):
        RunDir.open(run)


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "a\\b", "..", ".", "a\0b", "", "A", "x" * 50])
def test_no_name_of_a_backbone_is_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(BakeoffError, match="name"):
        load_protocol("smoke", [f"backbones.0.name={json.dumps(name)}"])


def archive(path: Path, entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return path


def entries_of(state: object) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(buffer) as saved:
        return {name: saved.read(name) for name in saved.namelist()}


def refused(path: Path, reason: str) -> None:
    with pytest.raises(BakeoffError, match=reason):
        read_checkpoint(path)


def test_torch_files_are_looked_at_before_they_are_read(tmp_path: Path) -> None:
    entries = entries_of({"a": torch.zeros(1 << 20)})
    assert read_checkpoint(archive(tmp_path / "good.pt", entries)).weights["a"].shape == (1 << 20,)
    refused(archive(tmp_path / "bomb.pt", entries, zipfile.ZIP_DEFLATED), "compressed")
    whole = bytearray((tmp_path / "good.pt").read_bytes())
    whole[1 << 21] ^= 1  # torch reads over it
    assert torch.load(io.BytesIO(bytes(whole)), weights_only=True)["a"].count_nonzero() == 1
    (tmp_path / "flipped.pt").write_bytes(whole)
    refused(tmp_path / "flipped.pt", "the checksum of .* is wrong")
    torch.save({"a": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", "since 1.6")


def test_tensors_that_are_not_what_they_say(tmp_path: Path) -> None:
    entries = entries_of({"a": torch.zeros(1000)})
    (description,) = [name for name in entries if name.endswith("data.pkl")]
    (storage,) = [name for name in entries if name.endswith("data/0")]
    refused(archive(tmp_path / "short.pt", entries | {storage: bytes(40)}), "read safely|no weights")
    # M\xe8\x03 is 1000: as the storage's length and as the tensor's shape
    longer = entries[description].replace(b"M\xe8\x03", b"J\x00\x00\x00\x7f")
    refused(archive(tmp_path / "long.pt", entries | {description: longer}), "read safely")
    shape = entries[description][::-1].replace(b"\x03\xe8M", b"\x7f\x00\x00\x00J", 1)[::-1]
    refused(archive(tmp_path / "shape.pt", entries | {description: shape}), "read safely")


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(3, device="meta"), torch.eye(3).to_sparse(), torch.zeros(3, dtype=torch.complex64), torch.arange(3)],
    ids=["meta", "sparse", "complex", "whole numbers"],
)
def test_what_is_no_plain_tensor_of_real_numbers_is_no_weight(tmp_path: Path, odd: torch.Tensor) -> None:
    torch.save({"a": torch.zeros(3), "b": odd}, tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "expected plain real numbers")


@pytest.mark.parametrize("length", [2**63, 2**32, 1000, 0])
def test_the_header_of_safetensors_is_limited(tmp_path: Path, length: int) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + b'{"a": 1}')
    refused(tmp_path / "x.safetensors", "header")


def test_a_model_larger_than_its_file_is_never_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """d_model 4096, 16 384 layers, widths of 65 536: some 10^13 parameters, of which the file holds three."""
    sets = ["model.d_model=4096", "backbones.0.repeats=256", f"backbones.0.mixers={['mlp'] * 64}"]
    for name, protocol in (("deep", load_protocol("smoke", sets)), ("wide", load_protocol("smoke", sets[:1]))):
        header = {"protocol": protocol.model_dump(mode="json"), "backbone": "mamba"}
        header["widths"] = dict.fromkeys(("mamba", "mlp", "attention"), 65_536)
        path = tmp_path / f"{name}.safetensors"
        save_file({f"a{i}": torch.zeros(1) for i in range(3)}, path, metadata={HEADER: json.dumps(header)})
        with pytest.raises(BakeoffError, match=r"cannot be a model of 16384 mixers|do not fit the model"):
            load_model(path)


def test_a_budget_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.trial.plan.memory_bytes", lambda: 100_000)
    with pytest.raises(BakeoffError, match=r"GiB of weights; this machine has 0 GiB"):
        make_plan(load_protocol("smoke"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"a": NaN}', '{"a": 1e999}', "\ud800"])
def test_json_that_breaks_parsers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, errors="surrogatepass")
    with pytest.raises(BakeoffError, match="cannot be read as JSON"):
        read_json(tmp_path / "x.json")
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BakeoffError, match="larger than"):
        read_json(tmp_path / "large.json")


def test_a_file_cannot_command_the_terminal(run: Path) -> None:
    path = run / "trials" / TRIAL / "measurement.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": ["\x1b[2J"]}))
    with pytest.raises(BakeoffError, match="control characters"):
        read_json(path)
    with pytest.raises(BakeoffError, match="control characters"):
        load_protocol("smoke", ['description="\\u001b[2J"'])
    assert printable("a\x1b[2J\ud800\n\té") == "a\\x1b[2J\\ud800\n\té"


class Payload:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return (Path.touch, (self.touched,))


@pytest.mark.slow
def test_no_pickle_runs(tmp_path: Path, run: Path) -> None:
    touched = tmp_path / "touched"
    trial = run / "trials" / TRIAL
    entries = entries_of({"a": torch.zeros(1)})
    (description,) = [name for name in entries if name.endswith("data.pkl")]
    hostile = pickle.dumps({"a": Payload(touched)}, protocol=2)
    refused(archive(tmp_path / "x.pt", entries | {description: hostile}), "read safely")
    packed = pack_state({"trainer": Payload(touched)})
    (tmp_path / "resume.ckpt").write_bytes(packed)
    with pytest.raises(BakeoffError, match="damaged"):
        load_state(tmp_path / "resume.ckpt")
    (trial / "measurement.json").unlink()
    (trial / "resume.ckpt").write_bytes(packed)
    (trial / "samples.npz").write_bytes(pickle.dumps(Payload(touched)))
    code, errors = finish(run, "--resume")
    assert code == 0, errors
    assert not touched.exists()


@pytest.mark.slow
def test_a_strangers_run_or_checkpoint_cannot_load_code_without_leave(tmp_path: Path, run: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    protocol = load_protocol(str(run / "protocol.toml"), ['plugins=["evil"]', 'backbones.0.mixers=["evil:E", "mlp"]'])
    (run / "protocol.toml").write_text(dump_protocol(protocol))
    header = {"protocol": protocol.model_dump(mode="json"), "backbone": "hybrid", "widths": {"evil:E": 8, "mlp": 8}}
    save_file(
        {f"a{i}": torch.zeros(1) for i in range(9)}, tmp_path / "x.safetensors", metadata={HEADER: json.dumps(header)}
    )
    for arguments, code in (
        (["verdict", "run"], 3),  # reads figures, and builds nothing; says that the protocol is not the sealed one
        (["ls", "."], 0),
        (["plan", "run/protocol.toml"], 2),
        (["run", "run/protocol.toml", "--out", "run", "--resume"], 2),
        (["sample", "x.safetensors"], 2),
    ):
        command = [sys.executable, "-m", "bakeoff", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, (arguments, done.stderr)
        assert code != 2 or "--allow-plugins" in done.stderr
        assert not (tmp_path / "ran").exists()
