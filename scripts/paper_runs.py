"""What the page of the study at full size is written from: run directories, and the GPU benchmark's output."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.judging.verdicts import sealed_verdict, verdict_json
from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.probes import PROBES
from bakeoff.protocol.verdict import Verdict
from bakeoff.rundir.directory import RunDir, read_seal
from bakeoff.rundir.files import read_json, write_atomic
from bakeoff.rundir.sealed import measurements
from bakeoff.rundir.verify import verify

MACHINE = ("device", "cuda", "torch", "triton", "python", "processor")


@dataclass
class Run:
    """One run directory and all that the page says of it."""

    run: RunDir
    verdict: Verdict

    @classmethod
    def open(cls, path: Path) -> "Run":
        return cls(*sealed_verdict(path))

    @property
    def name(self) -> str:
        return self.run.protocol.name

    @cached_property
    def measured(self) -> dict[str, Measurement]:
        return {f"{one.backbone}-s{one.seed}": one for one in measurements(self.run)}

    @property
    def trials(self) -> list[str]:
        return [trial.name for trial in self.run.trials()]

    @property
    def shown(self) -> Verdict:
        """What the rule says of what is there."""
        return self.verdict.so_far or self.verdict

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_json(self.run.environment) if self.run.environment.is_file() else {}

    @cached_property
    def sampling_ms(self) -> dict[str, float]:
        """By backbone, from the probe."""
        return {name: 1000 * seconds for name, seconds in self.run.medians("sampling_time_s").items()}

    @property
    def seed_minutes(self) -> float | None:
        """All backbones of the first seed that all of them have finished, from start to judge."""
        names = [backbone.name for backbone in self.run.protocol.backbones]
        for seed in self.run.protocol.seeds:
            done = [one for one in self.measured.values() if one.seed == seed]
            if len(done) == len(names):
                return sum(one.wall_s for one in done) / 60
        return None

    def losses(self, trial: str) -> list[float]:
        lines = (self.run.path / "trials" / trial / "metrics.jsonl").read_text().splitlines()
        return [loss for line in lines for loss in json.loads(line)["losses"] if isinstance(loss, float)]

    def _sweep(self) -> dict[str, Any]:
        found = swept_trials(self.run)
        return {"sweep": found} if found else {}

    def document(self) -> dict[str, Any]:
        seal, found = read_seal(self.run.path), verify(self.run.path)
        return {
            "protocol": self.name,
            "complete": self.verdict.outcome != "incomplete",
            "sealed": {"at": seal.created, "code": str(seal.code), "digest": seal.digest},
            "verify": {"outcome": found.outcome, "digest": found.digest},
            "environment": {key: self.environment.get(key) for key in MACHINE},
            **self._sweep(),
            "trials": {name: one.model_dump(mode="json") for name, one in self.measured.items()},
            "probes": {name: found.model_dump(mode="json") for name in PROBES if (found := self.run.probe(name))},
            "floor": read_json(self.run.floor) if self.run.floor.is_file() else None,
            "verdict": verdict_json(self.run, self.verdict),
        }


def swept_trials(run: RunDir) -> dict[str, Any]:
    """The measurements of a run's own sweep, by trial."""
    return {one.name: one.measurement().model_dump(mode="json") for one in run.sweep_trials() if one.done}


def open_runs(paths: list[Path]) -> list[Run]:
    """The runs in these directories. Raises BakeoffError where none of them has a finished trial."""
    runs = [Run.open(path) for path in paths]
    if not any(run.measured for run in runs):
        raise BakeoffError(f"{', '.join(map(str, paths))}: no trial is finished; there is nothing to write.")
    return runs


def write_results(out: Path, name: str, page: str, document: object, pictures: Mapping[str, bytes]) -> Path:
    """Writes pictures, NAME.json and NAME.md into a folder; gives the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    for picture, content in pictures.items():
        write_atomic(out / picture, content)
    write_atomic(out / f"{name}.json", (json.dumps(document, indent=1) + "\n").encode())
    write_atomic(out / f"{name}.md", page.encode())
    return out / f"{name}.md"


def read_benchmark(path: Path) -> dict[str, Any]:
    """What `python -m benchmarks.gpu --json` wrote.

    Raises:
        BakeoffError: it is something else.
    """
    found = read_json(path)
    try:
        texts = [found["machine"]["device"], found["machine"]["date"]]
        texts += [row[key] for row in found["rows"] for key in ("name", "detail")]
        numbers = [row["value"] for row in found["rows"]]
    except (KeyError, TypeError):
        texts, numbers = [None], []
    if not all(isinstance(one, str) for one in texts) or not all(
        isinstance(one, int | float | None) for one in numbers
    ):
        raise BakeoffError(f"{path}: not what `python -m benchmarks.gpu --json` writes.")
    return found
