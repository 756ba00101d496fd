"""The training objective: mean squared velocity error at random times."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

from bakeoff.objectives.path import interpolate, target_velocity

Times = Literal["uniform", "logit-normal"]
Velocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def draw_times(count: int, kind: Times, generator: Generator) -> Tensor:
    """(count,) float32 on the CPU: U(0, 1), or sigmoid of N(0, 1) [Esser et al. 2024]."""
    if kind == "uniform":
        return torch.rand(count, generator=generator)
    return torch.randn(count, generator=generator).sigmoid()


def flow_loss(velocity: Velocity, data_BLC: Tensor, noise_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None) -> Tensor:
    """mean (v_hat(x_t, t) - (x_1 - x_0))^2 over samples, tokens and channels, float32."""
    v_hat = velocity(interpolate(noise_BLC, data_BLC, t_B), t_B, labels_B)
    return (v_hat.float() - target_velocity(noise_BLC, data_BLC)).square().mean()
