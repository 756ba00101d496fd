"""What the flow page needs to know of a run before it asks for anything."""

import asyncio
from pathlib import Path
from typing import Any, get_args

from starlette.concurrency import run_in_threadpool

from bakeoff.data.mnist import SIDE
from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.objectives.solver import Solver
from bakeoff.protocol.sections.tasks import DIGIT_CLASSES, Mnist
from bakeoff.protocol.verdict import headline
from bakeoff.run.directory import RunDir
from bakeoff.studio.flows import STRIP
from bakeoff.studio.query import GUIDANCE, SEEDS, STEPS


class Described:
    """The description of a run, made anew only when one of its files has changed, and once for all who ask."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = asyncio.Lock()
        self._seen: frozenset[tuple[str, int, int]] | None = None
        self._described: dict[str, Any] = {}

    async def get(self) -> dict[str, Any]:
        """Raises BakeoffError where `describe` does."""
        async with self._lock:
            seen = await run_in_threadpool(self._versions)
            if seen != self._seen:
                self._described = await run_in_threadpool(describe, self.path)
                self._seen = seen
            return self._described

    def _versions(self) -> frozenset[tuple[str, int, int]]:
        found = ((path, path.lstat()) for path in self.path.rglob("*"))
        return frozenset((str(path), status.st_mtime_ns, status.st_size) for path, status in found)


def describe(path: Path) -> dict[str, Any]:
    """Plain values.

    Raises:
        BakeoffError: no run directory, or one that cannot be read.
    """
    run, verdict = sealed_verdict(path)
    protocol, sampling = run.protocol, run.protocol.sampling
    return {
        "name": protocol.name,
        "description": protocol.description,
        "headline": headline(verdict),
        "complete": verdict.outcome != "incomplete",
        "deviations": verdict.deviations,
        "backbones": [_backbone(run, one.name) for one in protocol.backbones],
        "seeds": list(protocol.seeds),
        "labels": list(range(DIGIT_CLASSES)) if isinstance(protocol.task, Mnist) and protocol.task.conditional else [],
        "side": SIDE,
        "strip": STRIP,
        "sampling": {
            "steps": min(sampling.steps, STEPS),
            "solver": sampling.solver,
            "guidance": sampling.guidance,
        },
        "solvers": list(get_args(Solver)),
        "guided": protocol.guidable,
        "limits": {"steps": [1, STEPS], "noise": [0, SEEDS], "guidance": [0, GUIDANCE]},
        "noises": None,
    }


def _backbone(run: RunDir, name: str) -> dict[str, Any]:
    trials = [run.trial(name, seed) for seed in run.protocol.seeds]
    params = next((trial.measurement().params for trial in trials if trial.done), None)
    return {"name": name, "params": params, "trained": [trial.seed for trial in trials if trial.model.is_file()]}
