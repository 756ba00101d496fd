"""Flow matching [Lipman et al. 2023; Liu et al. 2023]: the linear path from noise (t = 0) to data (t = 1).

x_t = (1 - t) x_0 + t x_1 with x_0 ~ N(0, I). The model predicts the velocity v = x_1 - x_0; integrating
dx/dt = v(x, t) from noise makes items.

Shapes: B items, L tokens, C values a token.
"""

from collections.abc import Iterator
from typing import Literal, overload

import torch
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.objectives.base import Data, Draws, Floor, Model, Objective
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.objectives.solver import EVALUATIONS, states
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator

Times = Literal["uniform", "logit-normal"]
NOISE_ROWS = 16  # torch draws normals in blocks of 16 values; with whole blocks every prefix is the same
FLOOR_DRAWS = 2048  # they give a standard error of 1 % on MNIST


def interpolate(noise_BLC: Tensor, data_BLC: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1, one t an item."""
    t_B11 = t_B[:, None, None]
    return (1 - t_B11) * noise_BLC + t_B11 * data_BLC


def target_velocity(noise_BLC: Tensor, data_BLC: Tensor) -> Tensor:
    """v = x_1 - x_0, the same at every t."""
    return data_BLC - noise_BLC


def draw_times(count: int, kind: Times, generator: Generator) -> Tensor:
    """(count,) float32 on the CPU: U(0, 1), or sigmoid of N(0, 1) [Esser et al. 2024]."""
    if kind == "uniform":
        return torch.rand(count, generator=generator)
    return torch.randn(count, generator=generator).sigmoid()


class Flow(Objective):
    """Flow matching with velocity prediction.

    Args:
        times: how t is drawn in training.
        condition_dropout: share of items whose label and context are hidden in training, because guidance needs an
            unconditional model too.
    """

    times = 1

    def __init__(self, times: Times = "uniform", condition_dropout: float = 0.0) -> None:
        self.times_drawn: Times = times
        self.condition_dropout = condition_dropout

    def out(self, space: Space) -> int:
        if not space.channels:
            raise BakeoffError("objective flow: needs numbers, and this task has symbols; choose another objective.")
        return space.channels

    def draws(self, batch: Batch, g: Generator) -> Draws:
        assert batch.x is not None
        noise_BLC = torch.randn(batch.x.shape, generator=g)
        t_B = draw_times(len(noise_BLC), self.times_drawn, g)
        hidden_B = None
        if _conditional(batch):
            hidden_B = torch.rand(len(noise_BLC), generator=g) < self.condition_dropout
        return {"noise": noise_BLC, "t": t_B, "hidden": hidden_B}

    def loss(self, model: Model, batch: Batch, draws: Draws, teacher: Model | None = None) -> Tensor:
        """mean (v_hat(x_t, t) - (x_1 - x_0))^2 over items, tokens and channels, float32; by token weights if given."""
        squares_BLC = self._squares(model, batch, draws)
        if batch.weight_BL is None:
            return squares_BLC.mean()
        return (squares_BLC.mean(-1) * batch.weight_BL).sum() / batch.weight_BL.sum().clamp_min(1)

    def _squares(self, model: Model, batch: Batch, draws: Draws) -> Tensor:
        data_BLC, noise_BLC, t_B = batch.x, draws["noise"], draws["t"]
        assert data_BLC is not None and noise_BLC is not None and t_B is not None
        x_BLC = interpolate(noise_BLC, data_BLC, t_B)
        v_BLC = model(x_BLC, t_B, batch.labels_B, batch.context, draws["hidden"])
        return (v_BLC.float() - target_velocity(noise_BLC, data_BLC)).square()

    def held_out(self, model: Model, batch: Batch, g: Generator) -> dict[str, Tensor]:
        """The loss of each item, with nothing hidden, at one time each; the times are spread evenly over the batch."""
        draws = dict(self.draws(batch, g))
        count = batch.items()
        draws["t"], draws["hidden"] = (torch.randperm(count, generator=g) + 0.5) / count, None
        device = batch.x.device if batch.x is not None else torch.device("cpu")
        placed = {name: None if one is None else one.to(device) for name, one in draws.items()}
        return {"held_out_loss": self._squares(model, batch, placed).mean((1, 2))}

    def start(self, space: Space, prompts: Batch, seed: int) -> Tensor:
        """(B, L, C) ~ N(0, I)."""
        count = prompts.items()
        whole = -(-count // NOISE_ROWS) * NOISE_ROWS
        return torch.randn(whole, space.length, space.channels, generator=generator("sampling", seed))[:count]

    def states(
        self, model: Model, prompts: Batch, x: Tensor, sampling: Solver, seed: int, first: int = 0
    ) -> Iterator[Tensor]:
        """x after 0, 1, ..., S solver steps; `seed` is not used, because nothing is drawn on the way."""
        guide = _guided(prompts, sampling)

        def velocity(x_BLC: Tensor, t_B: Tensor) -> Tensor:
            if not guide:
                return model(x_BLC, t_B, prompts.labels_B, prompts.context).float()
            # classifier-free guidance [Ho and Salimans 2022]: v_none + w (v_told - v_none), both in one batch
            hidden_B = torch.arange(2 * len(x_BLC), device=x_BLC.device) >= len(x_BLC)
            both = model(_twice(x_BLC), _twice(t_B), _twice(prompts.labels_B), _twice(prompts.context), hidden_B)
            v_told, v_none = both.float().chunk(2)
            return v_none + sampling.guidance * (v_told - v_none)

        return states(velocity, x, sampling.steps, sampling.solver)

    def steps(self, sampling: Solver, prompts: Batch) -> int:
        return sampling.steps

    def nfe(self, sampling: Solver, prompts: Batch) -> int:
        return sampling.steps * EVALUATIONS[sampling.solver] * (2 if _guided(prompts, sampling) else 1)

    def floor(self, data: Data) -> Floor | None:
        """The memoriser's floor; see `bakeoff.objectives.floor`."""
        batch = data.whole()
        if batch is None or batch.x is None or batch.context is not None or batch.weight_BL is not None:
            return None
        dropout = self.condition_dropout if batch.labels_B is not None else 0.0
        return memoriser_floor(
            batch.x, batch.labels_B, label_dropout=dropout, times=self.times_drawn, draws=FLOOR_DRAWS
        )


@overload
def _twice(x: Tensor) -> Tensor: ...


@overload
def _twice(x: None) -> None: ...


def _twice(x: Tensor | None) -> Tensor | None:
    return None if x is None else torch.cat([x, x])


def _conditional(batch: Batch) -> bool:
    return batch.labels_B is not None or batch.context is not None


def _guided(prompts: Batch, sampling: Solver) -> bool:
    return sampling.guidance != 1.0 and _conditional(prompts)
