"""Flows on demand: one noise under all backbones, step by step, from the run's checkpoints.

One thread computes for everybody, a step of one backbone at a time: models are shared and never run twice at once, and
whoever asks waits at most for one step of each other client. A client that reads slowly only delays its own next step.
"""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.flow.solver import Solver
from bakeoff.protocol.schema import DIGIT_CLASSES, Sampling
from bakeoff.trial.checkpoint import Loaded, load_model
from bakeoff.trial.grids import data_uri, tiled
from bakeoff.trial.replay import Replay
from bakeoff.trial.rundir import RunDir

STEPS, SEEDS, GUIDANCE = 50, 2**31 - 1, 20
STRIP, COLUMNS = 64, 16
KEPT = 16  # models in memory

Event = tuple[str, dict[str, Any]]
T = TypeVar("T")


class Query(BaseModel):
    """What is asked for; the protocol's own sampling where nothing is said."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: Annotated[int, Field(ge=0, lt=DIGIT_CLASSES)] | None = None
    noise: Annotated[int, Field(ge=0, le=SEEDS)] = 0
    steps: Annotated[int, Field(ge=1, le=STEPS)] | None = None
    solver: Solver | None = None
    guidance: Annotated[float, Field(ge=0, le=GUIDANCE)] | None = None
    trained: Annotated[int, Field(ge=0, le=SEEDS)] | None = None

    def sampling(self, run: RunDir) -> Sampling:
        own = run.protocol.sampling
        guidance = own.guidance if self.guidance is None else self.guidance
        if guidance != 1 and not run.protocol.training.label_dropout:
            raise BakeoffError(f"guidance = {guidance:g}: these models never saw a hidden label; allowed: 1.")
        return Sampling(
            steps=self.steps or min(own.steps, STEPS), solver=self.solver or own.solver, guidance=guidance, count=1
        )

    def check(self, run: RunDir) -> None:
        """Raises BakeoffError for what this run does not have."""
        self.sampling(run)
        self.seed(run)

    def seed(self, run: RunDir) -> int:
        seed = run.protocol.seeds[0] if self.trained is None else self.trained
        if seed not in run.protocol.seeds:
            raise BakeoffError(f"trained = {seed}; allowed: {', '.join(map(str, run.protocol.seeds))}.")
        return seed


class Flows:
    """Shared by all requests of one server.

    Args:
        device: where the models are run.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._thread = ThreadPoolExecutor(1, "flows")
        self._models: OrderedDict[tuple[Path, int, int], Loaded] = OrderedDict()  # touched by that thread alone

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def warm(self, run: RunDir) -> None:
        """Load what the first page will ask for, and take one step with it."""
        async for name, _ in self.stream(run, Query(steps=1)):
            if name == "error":
                return

    async def noise(self, run: RunDir, query: Query) -> dict[str, str]:
        """The starting noise as a picture, the same for every backbone."""
        model = await self._compute(lambda: self._first(run, query.seed(run)))
        if model is None:
            raise BakeoffError("No backbone is trained yet.")
        noise_BLC = model.task.starting_noise(1, query.noise)
        return {"image": _pixels(await self._compute(lambda: model.task.images(noise_BLC.to(self.device)).numpy()))}

    async def stream(self, run: RunDir, query: Query) -> AsyncIterator[Event]:
        """One sample under every backbone, all from one noise, step by step: start, frame ..., done ..., end."""
        replays, missing = await self._compute(lambda: self._begin(run, query, 1))
        yield "start", {"backbones": list(replays), "steps": query.sampling(run).steps}
        for event in missing:
            yield "missing", event
        for step in range(query.sampling(run).steps + 1):
            for name, replay in replays.items():
                frame = await self._compute(lambda replay=replay: replay.images(next(replay)))
                yield "frame", {"backbone": name, "step": step, "image": _pixels(frame)}
        for name, replay in replays.items():
            yield "done", {"backbone": name, "nfe": replay.nfe, "ms": _ms(replay)}
        yield "end", {}

    async def strips(self, run: RunDir, query: Query) -> AsyncIterator[Event]:
        """64 samples of every backbone, finished, as one picture each: strip ..., end."""
        replays, _ = await self._compute(lambda: self._begin(run, query, STRIP))
        for name, replay in replays.items():
            x_BLC: Tensor | None = None
            while (x := await self._compute(lambda replay=replay: next(replay, None))) is not None:
                x_BLC = x
            assert x_BLC is not None  # there is always the noise itself
            image = await self._compute(lambda replay=replay, x=x_BLC: data_uri(tiled(replay.images(x), COLUMNS)))
            yield (
                "strip",
                {
                    "backbone": name,
                    "count": STRIP,
                    "columns": COLUMNS,
                    "image": image,
                    "nfe": replay.nfe,
                    "ms": _ms(replay),
                },
            )
        yield "end", {}

    async def _compute(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _begin(self, run: RunDir, query: Query, count: int) -> tuple[dict[str, Replay], list[dict[str, str]]]:
        """A replay for every backbone that is trained, and why the others have none."""
        seed, sampling = query.seed(run), query.sampling(run)
        replays, missing = {}, []
        for backbone in run.protocol.backbones:
            path = run.trial(backbone.name, seed).model
            try:
                if not path.is_file():
                    raise BakeoffError(f"not trained yet with seed {seed}")
                loaded = self._model(path)
                task = loaded.task
                _check(run, loaded, backbone.name)
                noise_BLC = task.starting_noise(count, query.noise)
                replays[backbone.name] = Replay(loaded, noise_BLC, task.sample_labels(count, query.label), sampling)
            except BakeoffError as error:
                missing.append({"backbone": backbone.name, "why": str(error)})
        return replays, missing

    def _first(self, run: RunDir, seed: int) -> Loaded | None:
        for backbone in run.protocol.backbones:
            if (path := run.trial(backbone.name, seed).model).is_file():
                return self._model(path)
        return None

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


def _check(run: RunDir, loaded: Loaded, name: str) -> None:
    """A checkpoint says itself what it is; in a run directory it has to be what its place says."""
    if loaded.backbone.name != name or loaded.protocol.codec != run.protocol.codec:
        raise BakeoffError(f"the weights that lie here are of another model ({loaded.backbone.name})")


def _pixels(images_BHW: np.ndarray) -> str:
    return base64.b64encode(images_BHW.tobytes()).decode()


def _ms(replay: Replay) -> float:
    return round(1000 * replay.seconds, 2)
