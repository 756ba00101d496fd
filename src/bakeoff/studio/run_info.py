"""What a page needs to know of a run before it asks for anything: its words, its backbones, its controls."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.directory import RunDir
from bakeoff.studio.controls import controls_of, offer_of


class RunInfo:
    """The description of one run, for all requests; it is made anew only when one of the run's files has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = asyncio.Lock()
        self._seen: frozenset[tuple[str, int, int]] | None = None
        self._info: dict[str, Any] = {}

    async def get(self) -> dict[str, Any]:
        """Raises BakeoffError where `run_info` does."""
        async with self._lock:
            seen = await run_in_threadpool(self._versions)
            if seen != self._seen:
                self._info = await run_in_threadpool(run_info, self.path)
                self._seen = seen
            return self._info

    def _versions(self) -> frozenset[tuple[str, int, int]]:
        found = ((path, path.lstat()) for path in self.path.rglob("*"))
        return frozenset((str(path), status.st_mtime_ns, status.st_size) for path, status in found)


def run_info(path: Path) -> dict[str, Any]:
    """Plain values.

    Raises:
        BakeoffError: no run directory, or one that cannot be read.
    """
    run, verdict = sealed_verdict(path)
    protocol, offer = run.protocol, offer_of(run.protocol)
    return {
        "name": protocol.name,
        "description": protocol.description,
        "headline": headline(verdict),
        "complete": verdict.outcome != "incomplete",
        "deviations": verdict.deviations,
        "backbones": [_backbone(run, one.name) for one in protocol.backbones],
        "item": offer.item,
        "start": offer.start,
        "controls": [control.describe() for control in controls_of(run)],
    }


def _backbone(run: RunDir, name: str) -> dict[str, Any]:
    trials = [run.trial(name, seed) for seed in run.protocol.seeds]
    params = next((trial.measurement().params for trial in trials if trial.done), None)
    return {"name": name, "params": params, "trained": [trial.seed for trial in trials if trial.model.is_file()]}
