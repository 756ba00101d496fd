"""The loaders of files from strangers, fuzzed: whatever is in a file, it is read or refused with a clear error."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from damage import damaged_archive, damaged_bytes, damaged_json, damaged_lines, damaged_toml
from files import (
    answers,
    archive_file,
    batch_file,
    digits,
    header,
    safetensors_file,
    sequences,
    state_file,
    torch_file,
    weights,
)
from fuzzing import IN_BOTH_TIERS, bounded, read_or_refuse
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from bakeoff.artefacts.answers import Answers
from bakeoff.artefacts.base import Kind, pack_path, read_items, read_path
from bakeoff.artefacts.images import Images
from bakeoff.artefacts.text import Text
from bakeoff.cli.auditing import audit_json
from bakeoff.data.cifar import unpacked, unpickled
from bakeoff.protocol.audit.checks import LossFloor, audit
from bakeoff.protocol.audit.published import load_table
from bakeoff.protocol.presets import PRESETS, dump_protocol, load_protocol
from bakeoff.rundir.foreign_checkpoints import HEADER
from bakeoff.trial.checkpoint import load_model, load_state

TABLE = Path(__file__).parents[2] / "examples" / "published.toml"


@dataclass(frozen=True)
class Loader:
    """A kind of file: good ones, how they are damaged, and what reads them."""

    name: str
    good: Callable[[], bytes]
    damage: Callable[[bytes], st.SearchStrategy[bytes]]
    load: Callable[[Path], object]
    suffix: str = ""


def read_protocol(path: Path) -> None:
    protocol = load_protocol(str(path))
    assert load_protocol_again(protocol) == protocol.digest()


def load_protocol_again(protocol: Any) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(dump_protocol(protocol))
        file.flush()
        return load_protocol(file.name).digest()


def with_header(content: bytes) -> bytes:
    return save(weights(), metadata={HEADER: content.decode(errors="replace")})


def resealed(content: bytes) -> st.SearchStrategy[bytes]:
    """A stranger can make the checksum right."""
    from hashlib import sha256

    return damaged_archive(content).map(lambda damaged: damaged + b"sha256:" + sha256(damaged).hexdigest().encode())


def read_table(path: Path) -> None:
    table = load_table(str(path))
    json.dumps(audit_json(table, audit(table, LossFloor(0.08, "given"))), allow_nan=False)


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
    Loader("sequences", lambda: Answers().pack(sequences(3)), damaged_archive, read_and_show(Answers(), 3), ".npz"),
    Loader("path", lambda: pack_path(Images(), [digits(2)] * 3), damaged_archive, read_states, ".npz"),
    Loader("cifar, pickled", batch_file, damaged_bytes, lambda path: unpickled(path.read_bytes(), str(path))),
    Loader("cifar, archive", archive_file, damaged_bytes, unpacked, ".tar.gz"),
    Loader("table, bytes", lambda: TABLE.read_bytes(), damaged_bytes, read_table, ".toml"),
    Loader("table, values", lambda: TABLE.read_bytes(), damaged_toml, read_table, ".toml"),
]  # fmt: skip


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


def test_good_files_are_read(folder: Path) -> None:
    """So that a refusal above means something."""
    for loader in LOADERS:
        path = folder / f"good{loader.suffix}"
        content = loader.good()
        path.write_bytes(with_header(content) if "header" in loader.name else content)
        if "resealed" not in loader.name:
            loader.load(path)
