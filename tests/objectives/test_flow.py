"""Flow matching against closed forms: Gaussian data, linear velocities, and orders of convergence."""

import math

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.models.batch import Batch
from bakeoff.objectives.flow import Flow
from bakeoff.objectives.paths import Linear
from bakeoff.objectives.prediction import target
from bakeoff.objectives.solver import Field, Solver, states
from bakeoff.objectives.times import TimeLaw
from bakeoff.protocol.sections import sampling as sections

RATE = 1.3


def linear(x: Tensor, t: Tensor) -> Tensor:
    return RATE * x


def solve(field: Field, noise: Tensor, steps: int, solver: Solver) -> Tensor:
    *_, end = states(field, noise, steps, solver)
    return end


def target_velocity(noise: Tensor, data: Tensor) -> Tensor:
    a = torch.ones(())
    return target("velocity", data, noise, a, 1 - a)


def interpolate(noise: Tensor, data: Tensor, t: float) -> Tensor:
    a, s = Linear().at(torch.tensor(t))
    return a * data + s * noise


def test_path_runs_from_noise_to_data() -> None:
    noise, data = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    assert torch.equal(interpolate(noise, data, 0.0), noise)
    assert torch.equal(interpolate(noise, data, 1.0), data)
    step = interpolate(noise, data, 0.75) - interpolate(noise, data, 0.25)
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


@pytest.mark.parametrize("prediction,loss_space", [("velocity", "data"), ("data", "velocity"), ("data", "data")])
@pytest.mark.parametrize("t0", [0.0, 0.3, 0.9, 0.99])
def test_what_is_predicted_and_where_it_is_scored_only_weigh_one_error(prediction, loss_space, t0: float) -> None:
    """x_1 = x_t + (1 - t) v: the errors of the data are (1 - t) those of the velocity, never more than twentyfold."""
    g, shape = Generator().manual_seed(3), (50, 3, 2)
    data, noise, missed = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(3))
    draws = {"noise": noise, "t": torch.full((50,), t0, dtype=torch.float64), "hidden": None}

    def gives_data(x, *others) -> Tensor:
        return data + missed

    def gives_velocity(x, *others) -> Tensor:
        return target_velocity(noise, data) + missed / (1 - t0)

    model = gives_data if prediction == "data" else gives_velocity
    weight = 1.0 if loss_space == "data" else max(1 - t0, 0.05) ** -2
    loss = Flow(prediction=prediction, loss_space=loss_space).loss(model, Batch(x=data), draws)
    assert loss.item() == pytest.approx(weight * missed.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_a_model_that_gives_the_data_is_sampled_by_the_velocity_that_it_means(solver: str) -> None:
    """For Gaussian data E x_1 given x_t is x_t + (1 - t) v; the last step begins where 1 - t is the step's length."""
    mean, std = 0.7, 0.4

    def velocity(x, t, *others) -> Tensor:
        t = t[:, None, None]
        return mean + (t * std**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * std**2) * (x - t * mean)

    def data(x, t, *others) -> Tensor:
        return x + (1 - t[:, None, None]) * velocity(x, t)

    noise = torch.randn(64, 2, 3, generator=Generator().manual_seed(0))
    section = sections.Solver(steps=10, solver=solver)  # pyright: ignore[reportArgumentType]
    flow, prompts, seen = Flow(prediction="data"), Batch(x=noise), []
    made = list(flow.states(lambda x, t, *o: seen.append(t) or data(x, t), prompts, noise, section, seed=0))  # type: ignore[arg-type]
    wanted = list(states(lambda x, t: velocity(x, t), noise, 10, solver, at_end=False))  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(torch.stack(made), torch.stack(wanted), atol=1e-4, rtol=1e-4)
    assert len(seen) == flow.nfe(section, prompts) and max(t.max() for t in seen) < 1


@pytest.mark.parametrize("kind,variance", [("uniform", 1 / 12), ("logit-normal", 0.0433)])
def test_times_are_drawn_as_named(kind, variance: float) -> None:
    t = TimeLaw(kind).draw(200_000, Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 1
    assert t.mean().item() == pytest.approx(0.5, abs=0.005)
    assert t.var().item() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("law", [TimeLaw(), TimeLaw("logit-normal"), TimeLaw("logit-normal", -0.8, 0.8)])
def test_quantiles_of_the_times_are_those_of_the_draws(law: TimeLaw) -> None:
    shares = torch.tensor([0.05, 0.25, 0.5, 0.9])
    drawn = law.draw(200_000, Generator().manual_seed(0)).quantile(shares)
    torch.testing.assert_close(law.quantile(shares), drawn, atol=0.005, rtol=0)


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
