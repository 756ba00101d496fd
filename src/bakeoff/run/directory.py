"""The run directory: plain files, the single truth. Every write is atomic.

    protocol.toml  seal.json  environment.json  speed.json  floor.json  verdict.json  samples.png
    trials/<backbone>-s<seed>/{metrics.jsonl, resume.ckpt, resume.prev.ckpt, model.safetensors, samples.npz,
                               grid.png, measurement.json}

Made after the seal, and no part of it: judgements.jsonl (people's votes, appended to), report/.

A trial is done when its measurement exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import Figure, known_figures
from bakeoff.protocol.formats import check_format, upgrade_measurement
from bakeoff.protocol.measurement import FloorRecord, Measurement, SpeedRecord
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.seal import Seal
from bakeoff.run.files import read_json, read_record
from bakeoff.run.untrusted import refuse_links


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
        """The trial's record, of any format."""
        measured = read_record(self.measurement_file, Measurement, "a measurement", upgrade_measurement)
        if (measured.backbone, measured.seed) != (self.backbone, self.seed):
            raise BakeoffError(f"{self.measurement_file}: of {measured.backbone}-s{measured.seed}, not of {self.name}.")
        return measured


class RunDir:
    """A run directory, the protocol that it was made for, and its seal; None where that is not there or damaged."""

    def __init__(self, path: Path, protocol: Protocol, sealed: Seal | None = None) -> None:
        self.path, self.protocol, self.sealed = path, protocol, sealed

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
        protocol = load_protocol(str(path / "protocol.toml"))
        try:
            return cls(path, protocol, read_seal(path))
        except BakeoffError:  # `bakeoff.run.sealed` says what is wrong with it
            return cls(path, protocol)

    @property
    def digest(self) -> str:
        """Of the protocol as it was sealed, in the format of that day; as it stands where there is no seal."""
        return self.sealed.digest if self.sealed is not None else self.protocol.digest()

    @property
    def figures(self) -> dict[str, Figure]:
        """Every quality figure that a trial of this run can have, by name, the loss among them.

        Raises:
            BakeoffError: the sealed plan lists something that is no figure.
        """
        return known_figures(self.sealed.plan if self.sealed is not None else {}, self.protocol.task.name)

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

    def speed_record(self) -> dict[str, Any]:
        """The content of speed.json, checked. Raises BakeoffError if it is no record of a speed pass."""
        return read_record(self.speed, SpeedRecord, "the record of a speed pass").model_dump()

    def floor_record(self) -> FloorRecord:
        """Raises BakeoffError if floor.json is no record of a floor."""
        return read_record(self.floor, FloorRecord, "the record of the memoriser's floor")

    def trial(self, backbone: str, seed: int) -> TrialDir:
        return TrialDir(self.path / "trials" / f"{backbone}-s{seed}", backbone, seed)

    def trials(self) -> Iterator[TrialDir]:
        """Seed by seed, so that all backbones stand side by side after the first third of three seeds."""
        for seed in self.protocol.seeds:
            for backbone in self.protocol.backbones:
                yield self.trial(backbone.name, seed)


def read_seal(path: Path) -> Seal:
    """The seal of a run directory.

    Raises:
        BakeoffError: no such run directory, or its seal is missing, damaged or of a newer format.
    """
    if not path.is_dir():
        raise BakeoffError(f"{path}: no such run directory.")
    document = read_json(path / "seal.json")
    check_format(document.get("format"), str(path / "seal.json"))
    try:
        return Seal.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BakeoffError(f"{path / 'seal.json'}: not a seal: {where}: {first['msg']}.") from None
