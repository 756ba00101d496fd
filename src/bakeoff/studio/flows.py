"""Flows on demand: one noise under all backbones, step by step, from the run's checkpoints.

One thread computes for all clients, one step of one backbone at a time: models are shared and never run twice at once,
and a client waits at most for one step of each other client. Strips, whose steps are long, are computed one at a time,
and let flows go first. A client that reads slowly only delays its own next step.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.protocol.sections.base import Section
from bakeoff.rundir.directory import RunDir
from bakeoff.seeding import derived_seed
from bakeoff.studio.query import Query, query_of
from bakeoff.studio.replay import Replay
from bakeoff.tasks import Task
from bakeoff.trial.checkpoint import Loaded, load_model

KEPT = 16  # models in memory
PATIENCE_S = 0.3  # of a strip, at each step, while flows are under way

Event = tuple[str, dict[str, Any]]
T = TypeVar("T")


class Flows:
    """Shared by all requests of one server.

    Args:
        device: where the models are run.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._thread = ThreadPoolExecutor(1, "flows")
        self._under_way = 0  # flows, strips not counted
        self._strip = asyncio.Lock()
        self._models: OrderedDict[tuple[Path, int, int], Loaded] = OrderedDict()  # touched by that thread alone

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def warm(self, run: RunDir) -> None:
        """Load what the first page will ask for, and take one step with every backbone."""
        async with aclosing(self.stream(run, query_of(run))) as events:
            async for event in events:
                if event and event[0] == "frame" and event[1]["step"] > 1:
                    return

    async def stream(self, run: RunDir, query: Query) -> AsyncGenerator[Event | None, None]:
        """One sample under every backbone, all from one noise, step by step: start, frame ..., done ..., end."""
        self._under_way += 1
        try:
            replays, missing = await self._compute(lambda: self._begin(run, query, 1))
            steps = max((replay.steps for replay in replays.values()), default=0)
            yield "start", {"backbones": list(replays), "steps": steps}
            for event in missing:
                yield "missing", event
            cells: dict[str, dict[str, Any]] = {}
            for step in range(steps + 1):
                for name, replay in replays.items():
                    if step <= replay.steps:  # a backbone of fewer steps stays as it ended
                        (cells[name],) = await self._compute(lambda replay=replay: replay.cells(next(replay)))
                    yield "frame", {"backbone": name, "step": step, "cell": cells[name]}
            for name, replay in replays.items():
                yield "done", {"backbone": name, "nfe": replay.nfe, "ms": _ms(replay)}
            yield "end", {}
        finally:
            self._under_way -= 1

    async def strips(self, run: RunDir, query: Query) -> AsyncGenerator[Event | None, None]:
        """Many finished samples of every backbone: strip ..., end."""
        replays, _ = await self._compute(lambda: self._begin(run, query, run.kind.many))
        for name, replay in replays.items():
            x_BLC: Tensor | None = None
            while (x := await self._patiently(lambda replay=replay: next(replay, None))) is not None:
                x_BLC = x
            assert x_BLC is not None  # there is always the noise itself
            cells = await self._patiently(lambda replay=replay, x=x_BLC: replay.cells(x))
            yield "strip", {"backbone": name, "cells": cells, "nfe": replay.nfe, "ms": _ms(replay)}
        yield "end", {}

    async def _patiently(self, work: Callable[[], T]) -> T:
        """When no flow is under way, or after a while; one at a time."""
        async with self._strip:
            until = time.monotonic() + PATIENCE_S
            while self._under_way and time.monotonic() < until:
                await asyncio.sleep(PATIENCE_S / 10)
            return await self._compute(work)

    async def _compute(self, work: Callable[[], T]) -> T:
        within = copy_context().run  # the leave to load plug-ins is of a context, and the thread has one of its own
        return await asyncio.get_running_loop().run_in_executor(self._thread, within, work)

    def _begin(self, run: RunDir, query: Query, count: int) -> tuple[dict[str, Replay], list[dict[str, str]]]:
        """A replay for every backbone that is trained, and why the others have none."""
        replays, missing = {}, []
        for backbone in run.protocol.backbones:
            path = run.trial(backbone.name, query.trained).model
            try:
                if not path.is_file():
                    raise BakeoffError(f"not trained yet with seed {query.trained}")
                loaded = self._model(path)
                task = loaded.task
                _check(run, loaded, backbone.name)
                # noise of its own: the trials' samples, which are judged blind, are not shown here by name
                noise = derived_seed("studio", query.noise)
                sampling = _sampling(loaded, run.protocol.sampling, query.sampling)
                replays[backbone.name] = Replay(loaded, _prompts(task, query, count), sampling, noise)
            except BakeoffError as error:
                why = str(error).replace(f"{run.path}/", "")  # other people's pages do not show this machine's paths
                missing.append({"backbone": backbone.name, "why": why})
        return replays, missing

    def _model(self, path: Path) -> Loaded:
        """From memory, unless its file has changed since."""
        found = path.stat()
        key = path, found.st_mtime_ns, found.st_size
        if key not in self._models:
            loaded = load_model(path)
            loaded.model.to(self.device)
            self._models[key] = loaded
            while len(self._models) > KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]


def _prompts(task: Task, query: Query, count: int) -> Batch:
    """What was typed, or the task's own prompts: those from the chosen one on, where they are all different."""
    if query.prompt:
        return task.typed(query.prompt)
    first = query.noise if task.varied else 0
    return task.prompts(first + count, query.label).take(first, first + count)


def _sampling(loaded: Loaded, run: Section, asked: Section) -> Section:
    """A backbone's own sampling, with what was asked for that is not the run's, where it has such a key."""
    own, before = loaded.protocol.sampling, run.model_dump()
    known = type(own).model_fields.keys() - (set() if loaded.protocol.guidable else {"guidance"})
    changed = {name: value for name, value in asked.model_dump().items() if value != before[name] and name in known}
    return own.model_copy(update=changed)


def _check(run: RunDir, loaded: Loaded, name: str) -> None:
    """Raises BakeoffError where a checkpoint is not the model that its place in the run directory says."""
    if loaded.backbone.name != name or loaded.protocol.codec != run.protocol.codec:
        raise BakeoffError(f"the weights that lie here are of another model ({loaded.backbone.name})")


def _ms(replay: Replay) -> float:
    return round(1000 * replay.seconds, 2)
