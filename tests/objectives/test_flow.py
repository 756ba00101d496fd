"""Flow matching against closed forms: Gaussian data, linear velocities, and orders of convergence."""

import math

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.models.batch import Batch
from bakeoff.objectives.flow import Flow, draw_times, interpolate, target_velocity
from bakeoff.objectives.solver import Field, Solver, states
from bakeoff.protocol.sections import sampling as sections

RATE = 1.3


def linear(x: Tensor, t: Tensor) -> Tensor:
    return RATE * x


def solve(field: Field, noise: Tensor, steps: int, solver: Solver) -> Tensor:
    *_, end = states(field, noise, steps, solver)
    return end


def test_path_runs_from_noise_to_data() -> None:
    noise, data = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    assert torch.equal(interpolate(noise, data, torch.zeros(3)), noise)
    assert torch.equal(interpolate(noise, data, torch.ones(3)), data)
    step = interpolate(noise, data, torch.full((3,), 0.75)) - interpolate(noise, data, torch.full((3,), 0.25))
    torch.testing.assert_close(2 * step, target_velocity(noise, data))


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_euler_map_of_a_linear_velocity(steps: int) -> None:
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(solve(linear, x, steps, "euler"), (1 + RATE / steps) ** steps * x)


@pytest.mark.parametrize("solver,order", [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence(solver, order: int) -> None:
    def field(x: Tensor, t: Tensor) -> Tensor:
        return torch.cos(2 * t)[:, None, None] * x

    x = torch.ones(1, 1, 1, dtype=torch.float64)
    exact = math.exp(math.sin(2) / 2)
    coarse, fine = (abs(solve(field, x, steps, solver).item() - exact) for steps in (32, 64))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_guidance_extrapolates_from_no_label() -> None:
    def network(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
        assert labels_B is not None and hidden_B is not None
        return labels_B.masked_fill(hidden_B, 10)[:, None, None] * torch.ones_like(x)

    prompts = Batch(labels_B=torch.full((2,), 3))
    sampling = sections.Solver(steps=1, guidance=2.5)
    *_, x = Flow().states(network, prompts, torch.zeros(2, 1, 1), sampling, 0)
    assert torch.equal(x, torch.full((2, 1, 1), 10 + 2.5 * (3 - 10)))


def test_a_weight_of_zero_leaves_a_token_out_of_the_loss() -> None:
    g = Generator().manual_seed(0)
    batch = Batch(x=torch.randn(4, 3, 2, generator=g))
    draws = Flow().draws(batch, g)

    def network(x, *others) -> Tensor:
        return 0.5 * x

    whole = Flow().loss(network, batch, draws)
    ones = Flow().loss(network, batch._replace(weight_BL=torch.ones(4, 3)), draws)
    torch.testing.assert_close(ones, whole)
    first = torch.zeros(4, 3)
    first[:, 0] = 1
    cut = {name: one[:, :1] if name == "noise" and one is not None else one for name, one in draws.items()}
    alone = Flow().loss(network, Batch(x=batch.x[:, :1] if batch.x is not None else None), cut)
    torch.testing.assert_close(Flow().loss(network, batch._replace(weight_BL=first), draws), alone)


def test_gaussian_data_is_generated_by_its_closed_form_velocity() -> None:
    """For x_1 ~ N(m, s^2): v(x, t) = m + (t s^2 - (1 - t)) / ((1 - t)^2 + t^2 s^2) (x - t m)."""
    mean, std = 0.7, 0.4

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None, None]
        return mean + (t * std**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * std**2) * (x - t * mean)

    noise = torch.randn(4000, 1, 1, dtype=torch.float64, generator=Generator().manual_seed(0))
    torch.testing.assert_close(solve(velocity, noise, 400, "heun"), mean + std * noise, atol=2e-4, rtol=0)


def test_loss_of_the_exact_velocity_is_its_irreducible_variance() -> None:
    """Var(v | x_t) for Gaussian data is s^2 / ((1 - t)^2 + t^2 s^2)."""
    std, t0, count = 0.5, 0.3, 200_000
    g = Generator().manual_seed(1)
    data = std * torch.randn(count, 1, 1, dtype=torch.float64, generator=g)
    noise = torch.randn(count, 1, 1, dtype=torch.float64, generator=g)
    t = torch.full((count,), t0, dtype=torch.float64)
    spread = (1 - t0) ** 2 + t0**2 * std**2

    def best_velocity(x, *others) -> Tensor:
        return (t0 * std**2 - (1 - t0)) / spread * x

    best = Flow().loss(best_velocity, Batch(x=data), {"noise": noise, "t": t, "hidden": None})
    assert best.item() == pytest.approx(std**2 / spread, rel=0.01)


@pytest.mark.parametrize("kind,variance", [("uniform", 1 / 12), ("logit-normal", 0.0433)])
def test_times_are_drawn_as_named(kind, variance: float) -> None:
    t = draw_times(200_000, kind, Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 1
    assert t.mean().item() == pytest.approx(0.5, abs=0.005)
    assert t.var().item() == pytest.approx(variance, rel=0.02)


def test_held_out_loss_is_one_value_an_item_and_its_mean_the_loss_over_all_times() -> None:
    """For v = 0 and data s N(0, 1) every item's expected loss is 1 + s^2, at every time."""
    std, g = 0.5, Generator().manual_seed(2)
    batch = Batch(x=std * torch.randn(4000, 3, 2, generator=g), labels_B=torch.zeros(4000, dtype=torch.long))
    seen: list[Tensor] = []

    def nothing(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
        assert t_B is not None and labels_B is not None and hidden_B is None
        seen.append(t_B)
        return torch.zeros_like(x)

    losses = Flow(condition_dropout=0.5).held_out(nothing, batch, g)["held_out_loss"]
    assert losses.shape == (4000,) and losses.mean().item() == pytest.approx(1 + std**2, rel=0.03)
    torch.testing.assert_close(seen[0].sort().values, (torch.arange(4000) + 0.5) / 4000)
