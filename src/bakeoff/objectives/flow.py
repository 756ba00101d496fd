"""Flow matching [Lipman et al. 2023; Liu et al. 2023]: the linear path from noise (t = 0) to data (t = 1).

x_t = (1 - t) x_0 + t x_1 with x_0 ~ N(0, I). The model predicts the velocity v = x_1 - x_0, or the data x_1, which say
the same: v = (x_1 - x_t) / (1 - t). Integrating dx/dt = v(x, t) from noise makes items.

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
from bakeoff.objectives.solver import evaluations, states
from bakeoff.objectives.times import Kind, TimeLaw
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator

Prediction = Literal["velocity", "data"]
LEAST_LEFT = 0.05  # the data are divided by no less than this of 1 - t [Li and He 2025]
NOISE_ROWS = 16  # torch draws normals in blocks of 16 values; with whole blocks every prefix is the same
FLOOR_DRAWS = 2048  # they give a standard error of 1 % on MNIST


def interpolate(noise_BLC: Tensor, data_BLC: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1, one t an item."""
    t_B11 = t_B[:, None, None]
    return (1 - t_B11) * noise_BLC + t_B11 * data_BLC


def target_velocity(noise_BLC: Tensor, data_BLC: Tensor) -> Tensor:
    """v = x_1 - x_0, the same at every t."""
    return data_BLC - noise_BLC


class Flow(Objective):
    """Flow matching.

    Args:
        times: how t is drawn in training.
        times_mean, times_std: of logit(t), where it is logit-normal.
        prediction: what the model gives.
        loss_space: whose squared error the loss is. That of the velocity is that of the data by 1 / (1 - t)^2; of a
            model that gives the data it is cut off where 1 - t is below 0.05 [Li and He 2025].
        condition_dropout: share of items whose label and context are hidden in training, because guidance needs an
            unconditional model too.
    """

    times = 1

    def __init__(
        self,
        times: Kind = "uniform",
        condition_dropout: float = 0.0,
        *,
        times_mean: float = 0.0,
        times_std: float = 1.0,
        prediction: Prediction = "velocity",
        loss_space: Prediction = "velocity",
    ) -> None:
        self.law = TimeLaw(times, times_mean, times_std)
        self.prediction: Prediction = prediction
        self.loss_space: Prediction = loss_space
        self.condition_dropout = condition_dropout

    def out(self, space: Space) -> int:
        if not space.channels:
            raise BakeoffError("objective flow: needs numbers, and this task has symbols; choose another objective.")
        return space.channels

    def draws(self, batch: Batch, g: Generator) -> Draws:
        assert batch.x is not None
        noise_BLC = torch.randn(batch.x.shape, generator=g)
        t_B = self.law.draw(len(noise_BLC), g)
        hidden_B = None
        if _conditional(batch):
            hidden_B = torch.rand(len(noise_BLC), generator=g) < self.condition_dropout
        return {"noise": noise_BLC, "t": t_B, "hidden": hidden_B}

    def loss(self, model: Model, batch: Batch, draws: Draws, teacher: Model | None = None) -> Tensor:
        """The mean squared error over items, tokens and channels, float32; by token weights if given."""
        squares_BLC = self._squares(model, batch, draws)
        if batch.weight_BL is None:
            return squares_BLC.mean()
        return (squares_BLC.mean(-1) * batch.weight_BL).sum() / batch.weight_BL.sum().clamp_min(1)

    def _squares(self, model: Model, batch: Batch, draws: Draws) -> Tensor:
        data_BLC, noise_BLC, t_B = batch.x, draws["noise"], draws["t"]
        assert data_BLC is not None and noise_BLC is not None and t_B is not None
        x_BLC = interpolate(noise_BLC, data_BLC, t_B)
        said_BLC = model(x_BLC, t_B, batch.labels_B, batch.context, draws["hidden"])
        wanted_BLC = data_BLC if self.prediction == "data" else target_velocity(noise_BLC, data_BLC)
        missed_BLC = said_BLC.float() - wanted_BLC
        if self.prediction != self.loss_space:
            left_B11 = (1 - t_B)[:, None, None]
            missed_BLC = missed_BLC * left_B11 if self.loss_space == "data" else missed_BLC / _divisor(left_B11)
        return missed_BLC.square()

    def _weight(self, t: Tensor) -> Tensor:
        """By what the loss weighs the squared error of the data that the model means."""
        if self.loss_space == "data":
            return torch.ones_like(t)
        return (1 - t).square().reciprocal() if self.prediction == "velocity" else _divisor(1 - t).square().reciprocal()

    def _velocity(self, said_BLC: Tensor, x_BLC: Tensor, t_B: Tensor) -> Tensor:
        """The velocity at x that the model means."""
        if self.prediction == "velocity":
            return said_BLC
        return (said_BLC - x_BLC) / _divisor((1 - t_B)[:, None, None])

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
                said_BLC = model(x_BLC, t_B, prompts.labels_B, prompts.context).float()
                return self._velocity(said_BLC, x_BLC, t_B)
            # classifier-free guidance [Ho and Salimans 2022]: none + w (told - none), both in one batch
            hidden_B = torch.arange(2 * len(x_BLC), device=x_BLC.device) >= len(x_BLC)
            both = model(_twice(x_BLC), _twice(t_B), _twice(prompts.labels_B), _twice(prompts.context), hidden_B)
            told, none = both.float().chunk(2)
            return self._velocity(none + sampling.guidance * (told - none), x_BLC, t_B)

        return states(velocity, x, sampling.steps, sampling.solver, at_end=self._known_at_end)

    @property
    def _known_at_end(self) -> bool:
        """Whether the velocity is known at t = 1, where x_t is the data and what is left to divide by is 0."""
        return self.prediction == "velocity"

    def steps(self, sampling: Solver, prompts: Batch) -> int:
        return sampling.steps

    def nfe(self, sampling: Solver, prompts: Batch) -> int:
        once = evaluations(sampling.steps, sampling.solver, at_end=self._known_at_end)
        return once * (2 if _guided(prompts, sampling) else 1)

    def floor(self, data: Data) -> Floor | None:
        """The memoriser's floor; see `bakeoff.objectives.floor`."""
        batch = data.whole()
        if batch is None or batch.x is None or batch.context is not None or batch.weight_BL is not None:
            return None
        dropout = self.condition_dropout if batch.labels_B is not None else 0.0
        return memoriser_floor(
            batch.x,
            batch.labels_B,
            label_dropout=dropout,
            law=self.law,
            weight=self._weight,
            draws=FLOOR_DRAWS,
        )


def _divisor(left: Tensor) -> Tensor:
    """1 - t, or what stands for it where the data, less x_t, are divided by it."""
    return left.clamp_min(LEAST_LEFT)


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
