"""The path of a few items from start to finished item, saved so that pages can show it without the model."""

from collections.abc import Sequence
from typing import Any

import torch

from bakeoff.artefacts.base import Items
from bakeoff.objectives import Generator
from bakeoff.seeding import derived_seed
from bakeoff.tasks import Task

PATH_ITEMS = 20
PATH_STATES = 50  # at most; the last state is always kept


@torch.no_grad()
def path_of(task: Task, generator: Generator, sampling: Any, seed: int) -> Sequence[Items]:
    """The first 20 prompts after 0, 1, ... steps, decoded.

    The noise differs from that of the judged samples, so a person who has seen a path can still judge those blind.
    """
    prompts = task.prompts(PATH_ITEMS)
    states = list(generator.states(prompts, sampling, derived_seed("path", seed)))
    last = len(states) - 1
    chosen = (
        sorted({round(i * last / PATH_STATES) for i in range(PATH_STATES + 1)})
        if last > PATH_STATES
        else range(last + 1)
    )
    return [task.items(states[i], prompts) for i in chosen]
