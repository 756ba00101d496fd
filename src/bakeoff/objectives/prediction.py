"""What a network of a denoising objective gives, and how data and noise are read off it.

With x_t = a x + s e every prediction is n = p x + q e, so that two linear equations give both:

    velocity  p = 1, q = -1        epsilon  p = 0, q = 1        data  p = 1, q = 0        v  p = -s, q = a

    D = a q - s p        x = (q x_t - s n) / D        e = (a n - p x_t) / D

On the linear path the velocity is dx_t / dt; v is that of Salimans and Ho [2022]. |D| is divided by as no less than a
path allows, because s ends at 0 and a begins there.

An error of n is an error of any other prediction n' times D' / D, because x_t is known: that is how a loss is taken in
a space that is not the network's.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Prediction = Literal["velocity", "epsilon", "data", "v"]


class Read(NamedTuple):
    """Data and noise that a network means."""

    data: Tensor
    noise: Tensor


def coefficients(prediction: Prediction, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """p and q."""
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    return {"velocity": (one, -one), "epsilon": (zero, one), "data": (one, zero), "v": (-s, a)}[prediction]


def determinant(prediction: Prediction, a: Tensor, s: Tensor) -> Tensor:
    """D = a q - s p: -(a + s) of a velocity, a of the noise, -s of the data, a^2 + s^2 of v."""
    return {"velocity": -(a + s), "epsilon": a, "data": -s, "v": a.square() + s.square()}[prediction]


def divisor(prediction: Prediction, a: Tensor, s: Tensor, least: float) -> Tensor:
    """D, or what stands for it where it is too small to divide by: that of velocity and v never is."""
    d = determinant(prediction, a, s)
    return {"epsilon": d.clamp_min(least), "data": d.clamp_max(-least)}.get(prediction, d)


def target(prediction: Prediction, data: Tensor, noise: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """n = p x + q e; a and s broadcast."""
    if prediction == "velocity":
        return data - noise
    if prediction == "v":
        return a * noise - s * data
    return noise if prediction == "epsilon" else data


def read(prediction: Prediction, said: Tensor, x: Tensor, a: Tensor, s: Tensor, least: float) -> Read:
    """Data and noise that `said` at x means; a and s broadcast."""
    d = divisor(prediction, a, s, least)
    # (x - a x^) / s = x^ - ((a + s) x^ - x) / s, which stays near x^ where s is cut off; and so for the noise
    if prediction == "data":
        return Read(said, said + ((a + s) * said - x) / d)
    if prediction == "epsilon":
        return Read(said + (x - (a + s) * said) / d, said)
    p, q = coefficients(prediction, a, s)
    return Read((q * x - s * said) / d, (a * said - p * x) / d)


def scale(prediction: Prediction, loss_space: Prediction, a: Tensor, s: Tensor, least: float) -> Tensor:
    """|D' / D|: an error of `prediction` times this is that of `loss_space`."""
    if prediction == loss_space:
        return torch.ones_like(a)
    return (determinant(loss_space, a, s) / divisor(prediction, a, s, least)).abs()


def weight(prediction: Prediction, loss_space: Prediction, a: Tensor, s: Tensor, least: float) -> Tensor:
    """By what the loss weighs the squared error of the data: (D' / s)^2, where D is not cut off."""
    return (scale(prediction, loss_space, a, s, least) * determinant(prediction, a, s) / s).square()
