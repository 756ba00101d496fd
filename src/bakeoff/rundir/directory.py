"""The run directory: plain files, the only record of a run. Every write is atomic.

    protocol.toml  seal.json  environment.json  floor.json  verdict.json  samples.png  probes/<probe>.json
    trials/<backbone>-s<seed>/{metrics.jsonl, resume.ckpt, resume.prev.ckpt, model.safetensors, samples.npz, path.npz,
                               grid.png, measurement.json}
    sweep/<backbone>-<key>-<value>/  the same, of each trial of the sweep, if the run begins with one

The task's kind of items decides the file names' suffixes of samples and path. A run of format 1 has a speed.json in
place of its probes, and no paths.

Not part of the seal, because they are made later: judgements.jsonl (people's votes, appended to), report/.

A trial is done when its measurement exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from bakeoff.artefacts.base import Items, Kind, build_kind, read_items
from bakeoff.errors import BakeoffError
from bakeoff.protocol.calls import CallsRecord
from bakeoff.protocol.figures import HELD_OUT, Figure, known_figures
from bakeoff.protocol.formats import check_format, upgrade_measurement
from bakeoff.protocol.measurement import FloorRecord, Measurement, SpeedRecord
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.probes import PROBES, ProbeRecord, upgrade_speed
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.seal import Seal
from bakeoff.protocol.sections.sweep import DIVERGED
from bakeoff.protocol.sweep import Swept, expected, swept
from bakeoff.rundir.files import read_json, read_record
from bakeoff.rundir.untrusted import refuse_links


@dataclass(frozen=True)
class TrialDir:
    """One trial's files.

    Attributes:
        tries: the value of the swept key that a trial of the sweep tries; None in the trials that the verdict reads.
    """

    path: Path
    backbone: str
    seed: int
    run: "RunDir" = field(repr=False, compare=False)
    tries: float | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def place(self) -> str:
        """Its folder, as the ledger names it."""
        return self.path.relative_to(self.run.path).as_posix()

    @property
    def value(self) -> float | None:
        """The value of the swept key that it is trained with; None without a sweep.

        Raises:
            BakeoffError: the sweep is not finished.
        """
        if self.tries is not None or self.run.protocol.sweep is None:
            return self.tries
        if (found := self.run.swept()) is None:
            raise BakeoffError(f"{self.run.path}: the sweep is not finished, so {self.name} cannot be trained yet.")
        return found.choices[self.backbone].value

    @property
    def protocol(self) -> Protocol:
        """The run's protocol as this trial is trained: with its own value of the swept key."""
        return self.run.protocol if (value := self.value) is None else self.run.protocol.at(value)

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def resume(self) -> Path:
        return self.path / "resume.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before `resume`; it is used if `resume` is damaged."""
        return self.path / "resume.prev.ckpt"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def samples(self) -> Path:
        return self.path / f"samples{self.run.kind.suffix}"

    @property
    def states(self) -> Path:
        """The path of a few items, state by state (`bakeoff.artefacts.base.read_path`)."""
        return self.path / f"path{self.run.kind.suffix}"

    @property
    def grid(self) -> Path:
        return self.path / "grid.png"

    @property
    def measurement_file(self) -> Path:
        return self.path / "measurement.json"

    @property
    def done(self) -> bool:
        return self.measurement_file.is_file()

    def items(self) -> Items:
        """The trial's samples, as many as the protocol asks for.

        Raises:
            BakeoffError: the samples are missing or damaged, or their number is another.
        """
        return read_items(self.samples, self.run.kind, self.run.protocol.samples_drawn)

    def measurement(self) -> Measurement:
        """The trial's record; reads every format."""
        measured = read_record(self.measurement_file, Measurement, "a measurement", upgrade_measurement)
        if (measured.backbone, measured.seed) != (self.backbone, self.seed):
            raise BakeoffError(f"{self.measurement_file}: of {measured.backbone}-s{measured.seed}, not of {self.name}.")
        if self.tries is not None and measured.swept != self.tries:
            raise BakeoffError(f"{self.measurement_file}: not of the value {self.tries:g}, which {self.name} tries.")
        return measured


class RunDir:
    """A run directory, its protocol, and its seal; the seal is None if it is missing or damaged."""

    def __init__(self, path: Path, protocol: Protocol, sealed: Seal | None = None) -> None:
        self.path, self.protocol, self.sealed = path, protocol, sealed

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Opens an existing run directory.

        Raises:
            BakeoffError: no such folder, no protocol in it, or a link in it that leads out of it.
        """
        if not path.is_dir():
            raise BakeoffError(f"{path}: no such run directory.")
        if not (path / "protocol.toml").is_file():
            raise BakeoffError(f"{path}: not a run directory: it holds no protocol.toml.")
        refuse_links(path)
        protocol = load_protocol(str(path / "protocol.toml"))
        try:
            return cls(path, protocol, read_seal(path))
        except BakeoffError:  # `bakeoff.rundir.sealed` says what is wrong with it
            return cls(path, protocol)

    @property
    def digest(self) -> str:
        """Digest of the protocol as sealed, in the seal's format; without a seal, of the protocol as it is now."""
        return self.sealed.digest if self.sealed is not None else self.protocol.digest()

    @property
    def figures(self) -> dict[str, Figure]:
        """Every quality figure that a trial of this run can have, by name; the loss is one of them.

        Raises:
            BakeoffError: the sealed plan lists something that is not a figure.
        """
        return known_figures(self.sealed.plan if self.sealed is not None else {}, self.protocol.task.kind)

    @property
    def kind(self) -> Kind:
        """The kind of items that the task generates. Raises BakeoffError if that is a plug-in that is not allowed."""
        return build_kind(str(self.sealed.plan.get("kind", "images")) if self.sealed is not None else "images")

    @property
    def speed(self) -> Path:
        """The speed record of a run of format 1."""
        return self.path / "speed.json"

    def probe_file(self, name: str) -> Path:
        return self.path / "probes" / f"{name}.json"

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

    def probe(self, name: str) -> ProbeRecord | None:
        """A probe's record; None if the probe has not run. Raises BakeoffError for a damaged record."""
        path = self.probe_file(name)
        if path.is_file():
            return read_record(path, ProbeRecord, "the record of a probe")
        if self.speed.is_file():
            return upgrade_speed(read_record(self.speed, SpeedRecord, "the record of a speed pass")).get(name)
        return None

    def calls(self) -> CallsRecord | None:
        """What the probe of quality against calls has found so far; None if it has not begun. Raises BakeoffError for a
        damaged record."""
        path = self.probe_file("calls")
        return read_record(path, CallsRecord, "the record of a probe") if path.is_file() else None

    def medians(self, figure: str) -> dict[str, float]:
        """Candidate -> median of a cost that a probe has measured; empty if no probe has measured it."""
        found = (record.medians(figure) for name in PROBES if (record := self.probe(name)) is not None)
        return next((medians for medians in found if medians), {})

    def parts(self) -> dict[str, Path]:
        """The parts of a complete run besides its trials: name -> file."""
        probes = {name.replace("_", " "): self.probe_file(name) for name in PROBES}
        if self.speed.is_file():
            probes = {"speed pass": self.speed}
        return {**probes, "loss floor": self.floor, "verdict": self.verdict}

    def floor_record(self) -> FloorRecord:
        """The record of the floor. Raises BakeoffError if floor.json does not hold one."""
        return read_record(self.floor, FloorRecord, "the record of the memoriser's floor")

    def trial(self, backbone: str, seed: int) -> TrialDir:
        return TrialDir(self.path / "trials" / f"{backbone}-s{seed}", backbone, seed, self)

    def trials(self) -> Iterator[TrialDir]:
        """The trials that the verdict reads, seed by seed, so that with three seeds all backbones can be compared after
        a third of them."""
        for seed in self.protocol.seeds:
            for backbone in self.protocol.backbones:
                yield self.trial(backbone.name, seed)

    def sweep_trials(self) -> Iterator[TrialDir]:
        """The trials of the sweep, value by value; none if there is no sweep, or if an earlier run has it."""
        for value, seed in self.protocol.to_try:
            for backbone in self.protocol.backbones:
                yield self.sweep_trial(backbone.name, value, seed)

    def sweep_trial(self, backbone: str, value: float, seed: int) -> TrialDir:
        sweep = self.protocol.sweep
        assert sweep is not None
        return TrialDir(self.path / sweep.folder(backbone, value, seed), backbone, seed, self, value)

    def all_trials(self) -> Iterator[TrialDir]:
        """In the order in which they are run."""
        yield from self.sweep_trials()
        yield from self.trials()

    def swept(self) -> Swept | None:
        """What the sweep found, here or in an earlier run; None if there is none, or if it is not finished.

        Raises:
            BakeoffError: a measurement of the sweep cannot be read.
        """
        sweep = self.protocol.sweep
        if sweep is None or not self.protocol.to_try:
            return self.protocol.swept
        if not all(trial.done for trial in self.sweep_trials()):
            return None

        def tried(backbone: str, value: float) -> float | str:
            trials = [self.sweep_trial(backbone, value, seed) for seed in sweep.seeds]
            return expected([held_out_loss(trial.measurement()) for trial in trials])

        names = [backbone.name for backbone in self.protocol.backbones]
        return swept(sweep, {name: [tried(name, value) for value in sweep.values] for name in names})


def held_out_loss(measured: Measurement) -> float | str:
    """By which a sweep chooses; "diverged" if the training did, or if the loss on what it was not trained on is not
    finite, which leaves no figure."""
    if measured.quality is None:
        return DIVERGED
    return measured.quality.figures.get(HELD_OUT.name, DIVERGED)


def read_seal(path: Path) -> Seal:
    """The seal of a run directory.

    Raises:
        BakeoffError: no such run directory, or the seal is missing, damaged or of a newer format.
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
