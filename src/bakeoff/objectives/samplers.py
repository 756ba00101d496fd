"""Samplers that step from one time of a path to the next by data and noise, as a network means them.

    ddim      x' = a' x^ + sqrt(s'^2 - g^2) e^ + g z, g = eta (s' / s) sqrt(1 - a^2 / a'^2)         [Song et al. 2021]
    dpmpp2m   x' = (s' / s) x - a' (exp(-h) - 1) D, h the step of log(a / s), D = x^ + (x^ - x^_) / (2 r)
              of this and the step before, r the ratio of their lengths               [Lu et al. 2022, "DPM-Solver++"]

On the variance-preserving path ddim with eta = 1 is DDPM's ancestral sampler of the smaller variance; on the linear
path ddim with eta = 0 is Euler's method. The data follow after the last time: x' = x^.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bakeoff.objectives.paths import Path
from bakeoff.objectives.prediction import Read

Denoise = Callable[[Tensor, float], Read]  # data and noise that x means at a time
Noise = Callable[[int], Tensor]  # of a step, counted from 0; of the shape of x


def _signal(path: Path, t: float) -> tuple[float, float]:
    a, s = path.at(torch.tensor(t, dtype=torch.float64))
    return a.item(), s.item()


@torch.no_grad()
def ddim(denoise: Denoise, path: Path, x: Tensor, times: list[float], eta: float, noise: Noise) -> Iterator[Tensor]:
    """x and its states after each of the times; `eta` from 0, an ordinary differential equation, to 1."""
    yield x
    for i, t in enumerate(times):
        data, left = denoise(x, t)
        if i + 1 == len(times):
            yield data
            return
        (a, s), (a_next, s_next) = _signal(path, t), _signal(path, times[i + 1])
        new = eta * s_next / s * math.sqrt(1 - (a / a_next) ** 2)
        x = a_next * data + math.sqrt(max(0.0, s_next**2 - new**2)) * left
        if new:
            x = x + new * noise(i)
        yield x


@torch.no_grad()
def dpmpp2m(denoise: Denoise, path: Path, x: Tensor, times: list[float]) -> Iterator[Tensor]:
    """x and its states after each of the times; the first and the last step are of first order."""
    yield x
    before, length = None, math.inf
    for i, t in enumerate(times):
        data, _ = denoise(x, t)
        if i + 1 == len(times):
            yield data
            return
        (a, s), (a_next, s_next) = _signal(path, t), _signal(path, times[i + 1])
        step = math.inf if a == 0 else math.log(a_next / s_next) - math.log(a / s)
        # after a step of infinite length, from where there is no signal at all, nothing is to be extrapolated
        extrapolated = data if before is None or math.isinf(length) else data + step / (2 * length) * (data - before)
        x = s_next / s * x - a_next * math.expm1(-step) * extrapolated
        before, length = data, step
        yield x
