"""The held-out loss is a mean over items, whatever batches they come in, and draws the same for every model."""

import pytest
import torch
from torch import Tensor

from bakeoff.models.batch import Batch
from bakeoff.objectives.base import Objective
from bakeoff.objectives.flow import Flow
from bakeoff.tasks.base import Finite
from bakeoff.trial.held_out import held_out


class Values(Flow):
    """The loss of an item is its own first number."""

    def held_out(self, model: object, batch: Batch, g: torch.Generator) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert batch.x is not None
        return {"held_out_loss": batch.x[:, 0, 0], "other": 2 * batch.x[:, 0, 0]}


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_it_is_the_mean_over_items(batch: int) -> None:
    x = torch.arange(7.0).reshape(7, 1, 1)
    found = held_out(Values(), torch.nn.Identity(), Finite(Batch(x), batch))  # pyright: ignore[reportArgumentType]
    assert found == {"held_out_loss": pytest.approx(3.0), "other": pytest.approx(6.0)}


def test_flow_s_is_near_its_training_loss_for_a_model_that_knows_nothing() -> None:
    """A model that says zero has the loss E (x_1 - x_0)^2 = 1 + E x_1^2; all items are ones here, so 2."""
    objective: Objective = Flow()

    class Zero(torch.nn.Module):
        def forward(self, x: Tensor, *others: object) -> Tensor:
            return torch.zeros_like(x)

    data = Finite(Batch(torch.ones(500, 4, 2)), 64)
    found = held_out(objective, Zero(), data)  # pyright: ignore[reportArgumentType]
    assert found["held_out_loss"] == pytest.approx(2.0, abs=0.15)
    assert held_out(objective, Zero(), data) == found  # pyright: ignore[reportArgumentType]
