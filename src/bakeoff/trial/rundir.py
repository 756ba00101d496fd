"""The run directory: plain files, the single truth. Every write is atomic.

    protocol.toml  seal.json  environment.json  speed.json  floor.json  verdict.json  samples.png
    trials/<backbone>-s<seed>/{metrics.jsonl, resume.ckpt, resume.prev.ckpt, model.safetensors, samples.npz,
                               grid.png, measurement.json}

Made after the seal, and no part of it: judgements.jsonl (people's votes, appended to), report/.

A trial is done when its measurement exists.
"""

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bakeoff.errors import BakeoffError, printable
from bakeoff.protocol.measurement import FloorRecord, Measurement, SpeedRecord
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.trial.untrusted import refuse_links

LARGEST_JSON = 16 << 20
RECORDS: dict[str, tuple[type[BaseModel], str]] = {
    "speed.json": (SpeedRecord, "the record of a speed pass"),
    "floor.json": (FloorRecord, "the record of the memoriser's floor"),
}
R = TypeVar("R", bound=BaseModel)


def write_atomic(path: Path, content: bytes, keep: Path | None = None) -> None:
    """All of the content or none of it, whatever happens meanwhile: temporary file, fsync, rename, fsync of the folder.

    Args:
        keep: where the file that stands at `path` is moved, once the new one is whole and reads back as it was written.

    Raises:
        OSError: with the name of the file; what stood there is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a killed writer's, or a link that leads elsewhere
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.is_file():
            if temporary.read_bytes() != content:
                raise OSError(errno.EIO, "reads back otherwise than it was written")
            os.replace(path, keep)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def make_folder(folder: Path) -> None:
    """With all above it, each on the disk before anything is written in it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """A rename lasts through a power cut once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, value: BaseModel | dict[str, Any]) -> None:
    document = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_atomic(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of finite numbers and printable texts; the records of a run directory in their shape.

    Raises:
        BakeoffError: not there, too large, not JSON, or not the record that its name says.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON} bytes")
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
        _refuse_control_characters(document)
    except (OSError, ValueError, RecursionError) as error:
        raise BakeoffError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict):
        raise BakeoffError(f"{path}: holds no JSON object.")
    if (record := RECORDS.get(path.name)) is not None:
        _in_shape(*record, document, path)
    return document


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _refuse_control_characters(node: Any) -> None:
    """What is shown on a terminal must not command it."""
    if isinstance(node, str) and printable(node) != node:
        raise ValueError(f"control characters in {node[:40]!r}")
    if isinstance(node, dict):
        _refuse_control_characters([*node, *node.values()])
    elif isinstance(node, list):
        for value in node:
            _refuse_control_characters(value)


def _in_shape(record: type[R], what: str, document: dict[str, Any], path: Path) -> R:
    try:
        return record.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6])
        raise BakeoffError(f"{path}: not {what}: {where}: {first['msg']}.") from None


@dataclass(frozen=True)
class TrialDir:
    """One trial's files."""

    path: Path
    backbone: str
    seed: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def resume(self) -> Path:
        return self.path / "resume.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before `resume`, for when that one turns out to be damaged."""
        return self.path / "resume.prev.ckpt"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def samples(self) -> Path:
        return self.path / "samples.npz"

    @property
    def grid(self) -> Path:
        return self.path / "grid.png"

    @property
    def measurement_file(self) -> Path:
        return self.path / "measurement.json"

    @property
    def done(self) -> bool:
        return self.measurement_file.is_file()

    def measurement(self) -> Measurement:
        measured = _in_shape(Measurement, "a measurement", read_json(self.measurement_file), self.measurement_file)
        if (measured.backbone, measured.seed) != (self.backbone, self.seed):
            raise BakeoffError(f"{self.measurement_file}: of {measured.backbone}-s{measured.seed}, not of {self.name}.")
        return measured


class RunDir:
    """A run directory and the protocol that it was made for."""

    def __init__(self, path: Path, protocol: Protocol) -> None:
        self.path, self.protocol = path, protocol

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """An existing run directory.

        Raises:
            BakeoffError: no such folder, no protocol in it, or something that leads out of it.
        """
        if not path.is_dir():
            raise BakeoffError(f"{path}: no such run directory.")
        if not (path / "protocol.toml").is_file():
            raise BakeoffError(f"{path}: not a run directory: it holds no protocol.toml.")
        refuse_links(path)
        return cls(path, load_protocol(str(path / "protocol.toml")))

    @property
    def speed(self) -> Path:
        return self.path / "speed.json"

    @property
    def floor(self) -> Path:
        return self.path / "floor.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def seal(self) -> Path:
        return self.path / "seal.json"

    @property
    def overview(self) -> Path:
        return self.path / "samples.png"

    def trial(self, backbone: str, seed: int) -> TrialDir:
        return TrialDir(self.path / "trials" / f"{backbone}-s{seed}", backbone, seed)

    def trials(self) -> Iterator[TrialDir]:
        """Seed by seed, so that all backbones stand side by side after the first third of three seeds."""
        for seed in self.protocol.seeds:
            for backbone in self.protocol.backbones:
                yield self.trial(backbone.name, seed)
