"""The progress of a run, read from its files: which trials are done, how far the others are, the time left."""

import math
import time
from pathlib import Path
from threading import Lock
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.files import read_json
from bakeoff.rundir.metrics_log import read_losses
from bakeoff.rundir.sealed import as_sealed

POINTS = 200  # of a curve
FRESH_S = 0.5  # all viewers share what was read within this time


class Watch:
    """Reads a run directory again and again; only files that have changed are opened. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._seen: dict[str, tuple[float, int]] = {}  # trial -> when it was first seen in training, and at which step
        self._state: dict[str, Any] = {}
        self._at = -math.inf

    def state(self) -> dict[str, Any]:
        """The state as plain values: finished, done, planned, verdict, seconds_left, trials, parts.

        Raises:
            BakeoffError: the directory's content cannot be read.
        """
        with self._lock:
            if time.monotonic() - self._at > FRESH_S:
                self._state, self._at = self._look(), time.monotonic()
            return self._state

    def _look(self) -> dict[str, Any]:
        run, _ = as_sealed(self.path)
        trials = [self._trial(run, trial) for trial in run.all_trials()]
        parts = {name: path.is_file() for name, path in run.parts().items()}
        done = sum(one["status"] in ("done", "diverged") for one in trials)
        verdict = self._once(run.verdict, read_json) if parts["verdict"] else None
        return {
            "finished": done == len(trials) and all(parts.values()),
            "done": done,
            "planned": len(trials),
            "verdict": verdict and str(verdict.get("headline", "")),
            "seconds_left": self._seconds_left(run, trials),
            "trials": trials,
            "parts": parts,
        }

    def _trial(self, run: RunDir, trial: TrialDir) -> dict[str, Any]:
        losses: list[float] = self._once(trial.metrics, read_losses) if trial.metrics.is_file() else []
        shown = {
            "backbone": trial.backbone,
            "label": _label(run, trial),
            "status": "training" if losses else "waiting",
            "step": len(losses),
            "steps": run.protocol.total_steps,
            "loss": _mean(losses[-10:]),
            "curve": _curve(losses),
        }
        if trial.done:
            measured = self._once(trial.measurement_file, lambda _: trial.measurement())
            shown["status"] = "done" if measured.status == "completed" else "diverged"
        return shown

    def _seconds_left(self, run: RunDir, trials: list[dict[str, Any]]) -> float | None:
        """Seconds of training left: the steps left, at the pace of that backbone or else of all; None if unknown."""
        paces: dict[str, list[float]] = {}
        for trial, shown in zip(run.all_trials(), trials, strict=True):
            if shown["status"] == "done" and shown["steps"]:
                measured = self._once(trial.measurement_file, lambda _, trial=trial: trial.measurement())
                paces.setdefault(trial.backbone, []).append(measured.wall_s / shown["steps"])
            elif shown["status"] == "training":
                now, step = time.monotonic(), shown["step"]
                since, first = self._seen.setdefault(trial.name, (now, step))
                if step < first:  # it was resumed from an earlier checkpoint
                    self._seen[trial.name] = now, step
                elif step > first:
                    paces.setdefault(trial.backbone, []).append((now - since) / (step - first))
        means = {name: _mean(pace) for name, pace in paces.items()}
        usual = _mean([mean for mean in means.values() if mean is not None])
        left = [one for one in trials if one["status"] in ("waiting", "training")]
        if usual is None and left:
            return None
        return round(sum((one["steps"] - one["step"]) * (means.get(one["backbone"]) or usual or 0.0) for one in left))

    def _once(self, path: Path, read: Any) -> Any:
        """The result of `read` for a file, cached until the file changes."""
        try:
            found = path.stat()
            version = found.st_mtime_ns, found.st_size
            if path not in self._read or self._read[path][0] != version:
                self._read[path] = version, read(path)
        except OSError as error:
            raise BakeoffError(f"{path}: {error.strerror or 'cannot be read'}.") from error
        return self._read[path][1]


def _label(run: RunDir, trial: TrialDir) -> str:
    """What sets it apart from the other trials of its backbone."""
    sweep = run.protocol.sweep
    if sweep is None or trial.tries is None:
        return f"seed {trial.seed}"
    return f"{sweep.name} {trial.tries:g}" + (f", seed {trial.seed}" if sweep.more_seeds else "")


def _curve(losses: list[float]) -> list[tuple[float, float]]:
    """At most POINTS means of consecutive losses, each at the middle of its steps."""
    width = max(1, -(-len(losses) // POINTS))
    chunks = [(start, losses[start : start + width]) for start in range(0, len(losses), width)]
    points = [(start + (len(chunk) + 1) / 2, _mean(chunk)) for start, chunk in chunks]
    return [(step, loss) for step, loss in points if loss is not None]


def _mean(values: list[float]) -> float | None:
    """The mean; None for an empty list, or if the mean is not a finite number."""
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None
