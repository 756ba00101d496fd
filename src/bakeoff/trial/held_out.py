"""The loss on items that were kept out of training."""

import torch

from bakeoff.objectives import Objective
from bakeoff.objectives.base import Model
from bakeoff.seeding import generator
from bakeoff.tasks import Dataset


@torch.no_grad()
def held_out(objective: Objective, model: Model, data: Dataset) -> dict[str, float]:
    """The mean over all items of each of the objective's held-out losses, by name.

    Args:
        model: in its evaluating state.
        data: finite; the draws are the same for all models.
    """
    assert data.epoch_steps is not None
    sums: dict[str, float] = {}
    items = 0
    for step in range(data.epoch_steps):
        batch = data.batch(0, step)
        for name, values_B in objective.held_out(model, batch, generator("held out", step)).items():
            sums[name] = sums.get(name, 0.0) + values_B.double().sum().item()
        items += batch.items()
    return {name: total / items for name, total in sums.items()}
