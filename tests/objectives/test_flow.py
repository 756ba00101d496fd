"""Flow matching against closed forms: Gaussian data, linear velocities, and orders of convergence."""

import math

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.objectives import Guided, draw_times, flow_loss, interpolate, solve, target_velocity

RATE = 1.3


def linear(x: Tensor, t: Tensor) -> Tensor:
    return RATE * x


def test_path_runs_from_noise_to_data() -> None:
    noise, data = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    assert torch.equal(interpolate(noise, data, torch.zeros(3)), noise)
    assert torch.equal(interpolate(noise, data, torch.ones(3)), data)
    step = interpolate(noise, data, torch.full((3,), 0.75)) - interpolate(noise, data, torch.full((3,), 0.25))
    torch.testing.assert_close(2 * step, target_velocity(noise, data))


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_euler_map_of_a_linear_velocity(steps: int) -> None:
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(solve(linear, x, steps, "euler").x, (1 + RATE / steps) ** steps * x)


@pytest.mark.parametrize("solver,order", [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(solver, order: int) -> None:
    def field(x: Tensor, t: Tensor) -> Tensor:
        return torch.cos(2 * t)[:, None, None] * x

    x = torch.ones(1, 1, 1, dtype=torch.float64)
    exact = math.exp(math.sin(2) / 2)
    coarse, fine = (abs(solve(field, x, steps, solver).x.item() - exact) for steps in (32, 64))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("solver,per_step", [("euler", 1), ("midpoint", 2), ("heun", 2)])
@pytest.mark.parametrize("weight,copies", [(1.0, 1), (2.0, 2)])
def test_nfe_counts_every_evaluation_of_the_network(solver, per_step: int, weight: float, copies: int) -> None:
    rows = 0

    def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal rows
        rows += len(x)
        return torch.zeros_like(x)

    labels = torch.zeros(6, dtype=torch.long)
    trajectory = solve(Guided(network, labels, 10, weight), torch.randn(6, 4, 2), 5, solver, keep_path=True)
    assert trajectory.nfe == 5 * per_step * copies == rows / 6
    assert trajectory.path is not None and len(trajectory.path) == 6


def test_guidance_extrapolates_from_no_label() -> None:
    def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return labels[:, None, None] * torch.ones_like(x)

    labels = torch.full((2,), 3)
    v = Guided(network, labels, 10, 2.5)(torch.zeros(2, 1, 1), torch.zeros(2))
    assert torch.equal(v, torch.full((2, 1, 1), 10 + 2.5 * (3 - 10)))


def test_gaussian_data_is_generated_by_its_closed_form_velocity() -> None:
    """For x_1 ~ N(m, s^2): v(x, t) = m + (t s^2 - (1 - t)) / ((1 - t)^2 + t^2 s^2) (x - t m)."""
    mean, std = 0.7, 0.4

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None, None]
        return mean + (t * std**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * std**2) * (x - t * mean)

    noise = torch.randn(4000, 1, 1, dtype=torch.float64, generator=Generator().manual_seed(0))
    torch.testing.assert_close(solve(velocity, noise, 400, "heun").x, mean + std * noise, atol=2e-4, rtol=0)


def test_loss_of_the_exact_velocity_is_its_irreducible_variance() -> None:
    """Var(v | x_t) for Gaussian data is s^2 / ((1 - t)^2 + t^2 s^2)."""
    std, t0, count = 0.5, 0.3, 200_000
    g = Generator().manual_seed(1)
    data = std * torch.randn(count, 1, 1, dtype=torch.float64, generator=g)
    noise = torch.randn(count, 1, 1, dtype=torch.float64, generator=g)
    t = torch.full((count,), t0, dtype=torch.float64)
    spread = (1 - t0) ** 2 + t0**2 * std**2
    best = flow_loss(lambda x, t, labels: (t0 * std**2 - (1 - t0)) / spread * x, data, noise, t, None)
    assert best.item() == pytest.approx(std**2 / spread, rel=0.01)


@pytest.mark.parametrize("kind,variance", [("uniform", 1 / 12), ("logit-normal", 0.0433)])
def test_times_are_drawn_as_named(kind, variance: float) -> None:
    t = draw_times(200_000, kind, Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 1
    assert t.mean().item() == pytest.approx(0.5, abs=0.005)
    assert t.var().item() == pytest.approx(variance, rel=0.02)
