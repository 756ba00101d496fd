"""Samplers that step from one time of a path to the next by data and noise, as a network means them.

    ddim      x' = a' x^ + sqrt(s'^2 - g^2) e^ + g z, g = eta (s' / s) sqrt(1 - a^2 / a'^2)         [Song et al. 2021]
    dpmpp2m   x' = (s' / s) x - a' (exp(-h) - 1) D, h the step of log(a / s), D = x^ + (x^ - x^_) / (2 r)
              of this and the step before, r the ratio of their lengths               [Lu et al. 2022, "DPM-Solver++"]

On the variance-preserving path ddim with eta = 1 is DDPM's ancestral sampler of the smaller variance; on the linear
path ddim with eta = 0 is Euler's method. The data follow after the last time: x' = x^.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from bakeoff.objectives.paths import Path
from bakeoff.objectives.prediction import Read

Denoise = Callable[[Tensor, float], Read]  # data and noise that x means at a time
Noise = Callable[[int], Tensor]  # of a step, counted from 0; of the shape of x


Step = Callable[[Tensor, Read, int, tuple[float, float], tuple[float, float]], Tensor]  # x, data and noise, i, (a, s)


@torch.no_grad()
def _walk(denoise: Denoise, path: Path, x: Tensor, times: list[float], step: Step) -> Iterator[Tensor]:
    """x and its states after each of the times; `step` leads from one time's a and s to the next one's."""
    yield x
    signals = [tuple(one.item() for one in path.at(torch.tensor(t, dtype=torch.float64))) for t in times]
    for i, (now, after) in enumerate(pairwise(signals)):
        x = step(x, denoise(x, times[i]), i, now, after)  # pyright: ignore[reportArgumentType]
        yield x
    yield denoise(x, times[-1]).data


def ddim(denoise: Denoise, path: Path, x: Tensor, times: list[float], eta: float, noise: Noise) -> Iterator[Tensor]:
    """x and its states after each of the times; `eta` from 0, an ordinary differential equation, to 1."""

    def step(x: Tensor, meant: Read, i: int, now: tuple[float, float], after: tuple[float, float]) -> Tensor:
        (a, s), (a_next, s_next) = now, after
        new = eta * s_next / s * math.sqrt(1 - (a / a_next) ** 2)
        x = a_next * meant.data + math.sqrt(max(0.0, s_next**2 - new**2)) * meant.noise
        return x + new * noise(i) if new else x

    return _walk(denoise, path, x, times, step)


def dpmpp2m(denoise: Denoise, path: Path, x: Tensor, times: list[float]) -> Iterator[Tensor]:
    """x and its states after each of the times; the first and the last step are of first order."""
    before: list[tuple[Tensor, float]] = []  # data of the step before, and its length

    def step(x: Tensor, meant: Read, i: int, now: tuple[float, float], after: tuple[float, float]) -> Tensor:
        (a, s), (a_next, s_next) = now, after
        length = math.inf if a == 0 else math.log(a_next / s_next) - math.log(a / s)
        data = meant.data
        # after a step of infinite length, from where there is no signal at all, nothing is to be extrapolated
        if before and math.isfinite(before[0][1]):
            data = data + length / (2 * before[0][1]) * (data - before[0][0])
        before[:] = [(meant.data, length)]
        return s_next / s * x - a_next * math.expm1(-length) * data

    return _walk(denoise, path, x, times, step)
