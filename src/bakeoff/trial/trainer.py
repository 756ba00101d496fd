"""Trains one backbone with one seed; can stop after any step and resume later with the same bits."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bakeoff.models.batch import Batch, to_device
from bakeoff.protocol.schema import Protocol
from bakeoff.seeding import derived_seed, generator
from bakeoff.tasks import Dataset
from bakeoff.trial.candidate import Candidate
from bakeoff.trial.meters import StepClock, Stopwatch
from bakeoff.trial.optimiser import Optimiser

TIMED_STEPS = 100
REPORT_STEPS = 10
OPTIMISER_ON_DEVICE = "optimiser, on the device"  # on a GPU, while the host runs ahead; on the CPU it is "optimiser"
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """The state of one training: weights, optimiser, average, step, losses. Data and noise are functions of the step.

    Between two readings of the losses the host never waits for a GPU: draws are copied asynchronously, losses stay on
    the GPU, and the optimiser, the clipping and the gradient scaler decide there.

    Attributes:
        step: steps done.
        losses: (total steps,) float32 on the device, filled up to `step`.
        times_ms: forward + backward of the latest steps, at most 100.
        diverged_at: first step whose loss was not finite, or None.
    """

    def __init__(
        self, candidate: Candidate, widths: Mapping[str, int], seed: int, data: Dataset, device: torch.device
    ) -> None:
        self.candidate, self.seed, self.data, self.device = candidate, seed, data, device
        self.protocol: Protocol = candidate.protocol
        recipe = self.protocol.training
        torch.manual_seed(derived_seed("weights", seed))
        self.model = candidate.blueprint.build(widths).to(self.device)
        self.parameters = list(self.model.parameters())
        self.average = [p.detach().clone() for p in self.parameters] if recipe.ema else None
        self.optimiser = Optimiser(self.model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.total = self.protocol.total_steps
        self.step = 0
        self.losses = torch.zeros(self.total, device=self.device)
        self.times_ms: list[float] = []
        self.diverged_at: int | None = None
        self.watch = Stopwatch()
        self._clock, self._optimiser_clock = StepClock(self.device), StepClock(self.device)

    def learning_rate(self, step: int) -> float:
        recipe = self.protocol.training
        warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
        if recipe.schedule == "constant":
            return recipe.lr * warm
        return recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * step / self.total))

    def run(self, report: Callable[[int, list[float]], None], stop: Callable[[], bool] = lambda: False) -> bool:
        """Trains to the end, or until a loss is not finite, or until asked to stop.

        Args:
            report: called every ten steps, and when stopping, with the number of steps done and the losses since
                the last call.
            stop: asked after every step.

        Returns:
            True if training is over, False if it was stopped and can go on.
        """
        self.model.train()
        while self.step < self.total and self.diverged_at is None:
            first = self.step
            last = min(self.total, (first // REPORT_STEPS + 1) * REPORT_STEPS)
            stopping = False
            while self.step < last and not stopping:
                self.one_step()
                stopping = stop()
            with self.watch("reading losses"):
                losses = self.losses[first : self.step].tolist()
                self.times_ms = (self.times_ms + self._clock.drain())[-TIMED_STEPS:]
                optimising_ms = sum(self._optimiser_clock.drain())
            if self.device.type == "cuda":
                self.watch.add(OPTIMISER_ON_DEVICE, optimising_ms / 1000)
            finite = [math.isfinite(loss) for loss in losses]
            if not all(finite):
                self.diverged_at = first + finite.index(False)
            report(self.step, losses)
            if stopping:
                break
        return self.step >= self.total or self.diverged_at is not None

    def one_step(self) -> None:
        """One step of training; the host does not wait for the device."""
        recipe = self.protocol.training
        with self.watch("data"):
            batch = self.data.batch(self.seed, self.step)
        with self.watch("forward and backward"), self._clock():
            loss = self._forward_backward(batch)
        with self.watch("optimiser"), self._optimiser_clock():
            self.optimiser.set_rate(self.learning_rate(self.step))
            self.optimiser.unscale(self.scaler)
            nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
            self.optimiser.step(self.scaler)
            self._update_average()
        self.losses[self.step] = loss.detach()
        self.step += 1

    def _forward_backward(self, batch: Batch) -> Tensor:
        drawn = self.candidate.objective.draws(batch, generator("draws", self.seed, self.step))
        draws = {name: None if one is None else to_device(self.device, one) for name, one in drawn.items()}
        with self._autocast():
            loss = self.candidate.objective.loss(self.model, batch, draws)
        self.scaler.scale(loss).backward()
        return loss

    def time_step(self, clock: StepClock) -> None:
        """Times forward and backward of one batch, without a step of the optimiser."""
        batch = self.data.batch(self.seed, 0)
        with clock():
            self._forward_backward(batch)
        self.optimiser.forget()

    def _autocast(self) -> AbstractContextManager:
        dtype = AUTOCAST.get(self.protocol.training.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential average whose memory grows to the protocol's value, so that the initial weights are forgotten."""
        if self.average is not None:
            decay = min(self.protocol.training.ema, (1 + self.step) / (10 + self.step))
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def use_average(self) -> None:
        """Puts the averaged weights into the model, for sampling; this is the end of training."""
        if self.average is not None:
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                parameter.copy_(mean)
        self.model.eval()

    def state(self) -> dict[str, Any]:
        """All that is needed to resume: tensors and plain values only."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state(),
            "scaler": self.scaler.state_dict(),
            "losses": self.losses,
            "times_ms": self.times_ms,
            "diverged_at": self.diverged_at,
            "seconds": self.watch.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resumes from what `state` gave; raises if it does not fit, and this trainer is then unusable."""
        step, losses = int(state["step"]), state["losses"]
        if not 0 <= step <= self.total or losses.shape != self.losses.shape:
            raise ValueError(f"step {step} and {len(losses)} losses; this training has {self.total} steps")
        self.step = step
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            for mine, saved in zip(self.average, state["average"], strict=True):
                mine.copy_(saved)
        self.optimiser.restore(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.losses.copy_(losses)
        self.times_ms = [float(milliseconds) for milliseconds in state["times_ms"]]
        self.diverged_at = None if state["diverged_at"] is None else int(state["diverged_at"])
        self.watch = Stopwatch({str(activity): float(seconds) for activity, seconds in state["seconds"].items()})

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch; a fifth of training if the data set has no end."""
        return self.data.epoch_steps or max(1, self.total // 5)

    def final_loss(self) -> float:
        """Mean loss over the items of the last epoch, or of the last fifth of training where an epoch is more.

        For a mean over all of a short training would tell how fast a backbone learns, not what it has learnt.
        """
        first = self.total - min(self.epoch_steps, max(1, self.total // 5))
        items = [self.data.size(step) for step in range(first, self.total)]
        losses = self.losses[first:].tolist()
        return sum(loss * count for loss, count in zip(losses, items, strict=True)) / sum(items)

    def recent_losses(self) -> list[float]:
        """Losses of the last epochs, for their trend: a fifth of training, at least one epoch, at most half."""
        window = min(max(self.total // 5, self.epoch_steps), max(self.total // 2, 10))
        return self.losses[-window:].tolist()
