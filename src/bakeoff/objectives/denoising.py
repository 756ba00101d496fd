"""Denoising: a network learns what is data in a mixture of data and noise, and a sampler goes from noise to data by it.

What is common to all processes (`bakeoff.objectives.paths`) and predictions (`bakeoff.objectives.prediction`); the
processes themselves are in `flow` and `ddpm`.

Shapes: B items, L tokens, C values a token.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import overload

import torch
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.objectives import prediction, samplers
from bakeoff.objectives.base import Data, Draws, Floor, Model, Objective
from bakeoff.objectives.coupling import Coupling, coupled
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.objectives.paths import Path
from bakeoff.objectives.prediction import Prediction
from bakeoff.objectives.solver import evaluations, states
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator

NOISE_ROWS = 16  # torch draws normals in blocks of 16 values; with whole blocks every prefix is the same
FLOOR_DRAWS = 2048  # they give a standard error of 1 % on MNIST


class Denoising(Objective):
    """A process with a prediction and a loss space.

    Args:
        path: from noise to data.
        prediction: what the model gives.
        loss_space: whose squared error the loss is.
        condition_dropout: share of items whose label and context are hidden in training, because guidance needs an
            unconditional model too.
        coupling: which noise goes with which item of a batch.
    """

    times = 1

    def __init__(
        self,
        path: Path,
        prediction: Prediction,
        loss_space: Prediction,
        condition_dropout: float = 0.0,
        coupling: Coupling = "independent",
    ) -> None:
        self.path, self.condition_dropout, self.coupling = path, condition_dropout, coupling
        self.prediction: Prediction = prediction
        self.loss_space: Prediction = loss_space

    @abstractmethod
    def drawn_times(self, count: int, g: Generator) -> Tensor:
        """(count,) float32 on the CPU: the times of a batch."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """The time below which the share u of all times is drawn, of any shape and type."""

    def out(self, space: Space) -> int:
        if not space.channels:
            kind = type(self).__name__.lower()
            raise BakeoffError(f"objective {kind}: needs numbers, and this task has symbols; choose another objective.")
        return space.channels

    def draws(self, batch: Batch, g: Generator) -> Draws:
        assert batch.x is not None
        noise_BLC = torch.randn(batch.x.shape, generator=g)
        t_B = self.drawn_times(len(noise_BLC), g)
        hidden_B = None
        if _conditional(batch):
            hidden_B = torch.rand(len(noise_BLC), generator=g) < self.condition_dropout
        if self.coupling == "ot":
            noise_BLC = coupled(noise_BLC, batch.x, batch.labels_B)
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
        a_B11, s_B11 = self._signal(t_B)
        x_BLC = s_B11 * noise_BLC + a_B11 * data_BLC
        said_BLC = model(x_BLC, t_B, batch.labels_B, batch.context, draws["hidden"])
        missed_BLC = said_BLC.float() - prediction.target(self.prediction, data_BLC, noise_BLC, a_B11, s_B11)
        if self.prediction != self.loss_space:
            missed_BLC = missed_BLC * prediction.scale(self.prediction, self.loss_space, a_B11, s_B11, self.path.least)
        return missed_BLC.square()

    def _signal(self, t_B: Tensor) -> tuple[Tensor, Tensor]:
        a_B, s_B = self.path.at(t_B)
        return a_B[:, None, None], s_B[:, None, None]

    def held_out(self, model: Model, batch: Batch, g: Generator) -> dict[str, Tensor]:
        """The loss of each item, with nothing hidden, at one time each; the times are spread evenly over the batch."""
        draws = dict(self.draws(batch, g))
        count = batch.items()
        draws["t"], draws["hidden"] = self.path.even(count)[torch.randperm(count, generator=g)], None
        device = batch.x.device if batch.x is not None else torch.device("cpu")
        placed = {name: None if one is None else one.to(device) for name, one in draws.items()}
        return {"held_out_loss": self._squares(model, batch, placed).mean((1, 2))}

    def start(self, space: Space, prompts: Batch, seed: int) -> Tensor:
        """(B, L, C) ~ N(0, I)."""
        return _prefix(prompts.items(), (space.length, space.channels), generator("sampling", seed))

    def states(
        self, model: Model, prompts: Batch, x: Tensor, sampling: Solver, seed: int, first: int = 0
    ) -> Iterator[Tensor]:
        """x after 0, 1, ..., S steps of the sampler."""

        def said(x_BLC: Tensor, t_B: Tensor) -> Tensor:
            guided = _guided(prompts, sampling) and (sampling.everywhere or sampling.guides(t_B[0].item()))
            if not guided:
                return model(x_BLC, t_B, prompts.labels_B, prompts.context).float()
            # classifier-free guidance [Ho and Salimans 2022]: none + w (told - none), both in one batch
            hidden_B = torch.arange(2 * len(x_BLC), device=x_BLC.device) >= len(x_BLC)
            both = model(_twice(x_BLC), _twice(t_B), _twice(prompts.labels_B), _twice(prompts.context), hidden_B)
            told, none = both.float().chunk(2)
            return none + sampling.guidance * (told - none)

        def denoise(x_BLC: Tensor, t: float) -> prediction.Read:
            t_B = torch.full((len(x_BLC),), t, device=x_BLC.device)
            return prediction.read(self.prediction, said(x_BLC, t_B), x_BLC, *self._signal(t_B), self.path.least)

        def velocity(x_BLC: Tensor, u_B: Tensor) -> Tensor:
            """dx / du of the linear path, on which x / (a + s) lies at the time u = a / (a + s)."""
            t_B = self.path.time_of(u_B)
            a_B11, s_B11 = self._signal(t_B)
            x_BLC = x_BLC * (a_B11 + s_B11) if not self.path.ends else x_BLC
            given = said(x_BLC, t_B)
            if self.prediction == "velocity":
                return given
            data, noise = prediction.read(self.prediction, given, x_BLC, a_B11, s_B11, self.path.least)
            return data - noise

        def noise(step: int) -> Tensor:
            g = generator("sampling-noise", seed, step)
            return _prefix(first + len(x), x.shape[1:], g)[first:].to(x.device)

        if sampling.solver in ("euler", "midpoint", "heun"):
            return states(velocity, x, sampling.steps, sampling.solver, at_end=self._known_at_end)
        times = self.path.grid(sampling.steps, sampling.grid)
        if sampling.solver == "dpmpp2m":
            return samplers.dpmpp2m(denoise, self.path, x, times)
        return samplers.ddim(denoise, self.path, x, times, sampling.noise_share, noise)

    @property
    def _known_at_end(self) -> bool:
        """Whether the velocity is known at the end, where what is left to divide by may be 0."""
        return self.prediction == "velocity" and self.path.ends

    def steps(self, sampling: Solver, prompts: Batch) -> int:
        return len(self._times(sampling)) if sampling.solver not in ("midpoint", "heun") else sampling.steps

    def nfe(self, sampling: Solver, prompts: Batch) -> int:
        if not _guided(prompts, sampling):
            return len(self._times(sampling))
        return sum(2 if sampling.guides(t) else 1 for t in self._times(sampling))

    def _times(self, sampling: Solver) -> list[float]:
        """The network's time at each evaluation."""
        if sampling.solver not in ("euler", "midpoint", "heun"):
            return self.path.grid(sampling.steps, sampling.grid)
        seen: list[Tensor] = []

        def field(x: Tensor, u_B: Tensor) -> Tensor:
            seen.append(self.path.time_of(u_B))
            return x

        for _ in states(field, torch.zeros(1), sampling.steps, sampling.solver, at_end=self._known_at_end):
            pass
        assert len(seen) == evaluations(sampling.steps, sampling.solver, at_end=self._known_at_end)
        return [t.item() for t in seen]

    def floor(self, data: Data) -> Floor | None:
        """The memoriser's floor; see `bakeoff.objectives.floor`. With another coupling it is not known."""
        batch = data.whole()
        if batch is None or batch.x is None or batch.context is not None or batch.weight_BL is not None:
            return None
        if self.coupling != "independent":
            return None
        return memoriser_floor(
            batch.x,
            batch.labels_B,
            label_dropout=self.condition_dropout if batch.labels_B is not None else 0.0,
            quantile=self.quantile,
            signal=self.path.at,
            weight=lambda a, s: prediction.weight(self.prediction, self.loss_space, a, s, self.path.least),
            draws=FLOOR_DRAWS,
        )


def _prefix(count: int, shape: tuple[int, ...] | torch.Size, g: Generator) -> Tensor:
    """(count, ...) ~ N(0, I) on the CPU, of which the first rows do not depend on the count."""
    whole = -(-count // NOISE_ROWS) * NOISE_ROWS
    return torch.randn(whole, *shape, generator=g)[:count]


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
