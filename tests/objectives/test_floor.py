"""The memoriser's floor against quadrature, bounds, invariances, and its published value on MNIST."""

import math
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.objectives.base import Floor
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.objectives.flow import Flow
from bakeoff.objectives.times import TimeLaw
from bakeoff.tasks.digits import pixel_floor

PI_2 = math.pi / 2


def normal(count: int, channels: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, channels, generator=Generator().manual_seed(seed), dtype=dtype)


def least_error(u_U: np.ndarray) -> np.ndarray:
    """E Var(x | u x + z) for x = +-1 and z ~ N(0, 1), which is E sech^2(u (u + z)), by quadrature over z."""
    z_Z, step = np.linspace(-9, 9, 2001, retstep=True)
    density_Z = np.exp(-(z_Z**2) / 2) / math.sqrt(2 * math.pi) * step
    return (np.cosh(np.clip(u_U[:, None] * (u_U[:, None] + z_Z), -300, 300)) ** -2) @ density_Z


def near(floor: Floor, expected: float, sigmas: float = 4) -> bool:
    return abs(floor.value - expected) <= sigmas * floor.stderr


@pytest.mark.parametrize("half_distance", [0.1, 1.0, 10.0])
def test_two_points_on_a_line_give_what_quadrature_gives(half_distance: float) -> None:
    u_U, step = np.linspace(0, 12, 2401, retstep=True)
    expected = half_distance * (least_error(u_U).sum() - 0.5) * step  # trapezoids; the integrand begins at 1
    floor = memoriser_floor(half_distance * torch.tensor([[-1.0], [1.0]], dtype=torch.float64), draws=4096)
    assert near(floor, expected) and floor.stderr < 0.03 * expected


def test_two_points_at_logit_normal_times_give_what_quadrature_gives() -> None:
    s_S, step = np.linspace(-9, 9, 1801, retstep=True)  # t = sigmoid(s), u = t / (1 - t) = e^s, 1 / (1 - t) = 1 + u
    density_S = np.exp(-(s_S**2) / 2) / math.sqrt(2 * math.pi)
    expected = (density_S * least_error(np.exp(s_S)) * (1 + np.exp(s_S)) ** 2).sum() * step
    points = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert near(memoriser_floor(points, quantile=TimeLaw("logit-normal").quantile, draws=4096), expected)


def test_the_floor_of_the_data_is_their_variance_without_the_weight_of_the_velocity() -> None:
    """u = t / (1 - t) has the density 1 / (1 + u)^2 where t is uniform."""
    u_U, step = np.linspace(0, 40, 8001, retstep=True)
    expected = (least_error(u_U) / (1 + u_U) ** 2).sum() * step - 0.5 * step
    points = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert near(memoriser_floor(points, weight=lambda a, s: torch.ones_like(a), draws=4096), expected)


@pytest.mark.parametrize("prediction,loss_space", [("velocity", "velocity"), ("data", "velocity"), ("data", "data")])
def test_no_model_of_an_objective_goes_below_its_floor_and_the_best_one_reaches_it(prediction, loss_space) -> None:
    """The best for x = +-1: E x_1 given x_t is tanh(u x_t / (1 - t)) with u = t / (1 - t)."""

    def best(x, t, *others) -> Tensor:
        t = t[:, None, None].clamp_max(1 - 1e-7)
        data = torch.tanh(t * x / (1 - t) ** 2)
        return data if prediction == "data" else (data - x) / (1 - t)

    flow, g = Flow(prediction=prediction, loss_space=loss_space), Generator().manual_seed(0)
    signs = torch.randint(2, (200_000, 1, 1), generator=g).double() * 2 - 1
    loss = flow.loss(best, Batch(x=signs), flow.draws(Batch(x=signs), g)).item()  # pyright: ignore[reportArgumentType]
    points = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)

    class Both:
        def whole(self) -> Batch:
            return Batch(x=points.unsqueeze(1))

    floor = flow.floor(Both())
    assert floor is not None and loss == pytest.approx(floor.value, rel=0.05)


@pytest.mark.parametrize("copies", [1, 5])
def test_one_point_is_known_from_the_first_glance(copies: int) -> None:
    assert memoriser_floor(normal(1, 7).expand(copies, 7)).value == pytest.approx(0, abs=1e-12)


def test_many_normal_points_come_near_the_floor_of_the_normal_from_below() -> None:
    x_NC = 0.5 * normal(4000, 1)
    bound = PI_2 * x_NC.std(correction=0).item()
    floor = memoriser_floor(x_NC, draws=2048)
    assert 0.97 * bound < floor.value <= bound + 4 * floor.stderr


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.floats(0.01, 100), st.integers(0, 2**31))
def test_no_data_exceed_the_floor_of_a_normal_of_their_deviation(
    count: int, channels: int, scale: float, seed: int
) -> None:
    x_NC = scale * normal(count, channels, seed).exp()
    bound = PI_2 * x_NC.std(0, correction=0).mean().item()
    floor = memoriser_floor(x_NC, seed=seed)
    assert -1e-9 <= floor.value <= bound + 5 * floor.stderr + 1e-9


def test_it_is_proportional_to_the_range_and_blind_to_the_origin() -> None:
    x_NC = normal(200, 6)
    floor = memoriser_floor(x_NC, draws=4096)
    half = memoriser_floor(x_NC / 2, draws=4096)
    assert abs(half.value - floor.value / 2) < 4 * math.hypot(half.stderr, floor.stderr / 2)
    single = memoriser_floor(x_NC.float())
    assert memoriser_floor(x_NC.float() + 50).value == pytest.approx(single.value, rel=1e-3)


def test_repeating_the_data_changes_nothing() -> None:
    x_NC = normal(100, 4)
    once, thrice = (memoriser_floor(x, draws=4096) for x in (x_NC, x_NC.repeat(3, 1)))
    assert abs(once.value - thrice.value) < 4 * math.hypot(once.stderr, thrice.stderr)


def test_labels_narrow_the_posterior_and_hidden_ones_do_not() -> None:
    x_NC, g = normal(60, 3), torch.arange(60)
    free = memoriser_floor(x_NC)
    assert memoriser_floor(x_NC, g).value == pytest.approx(0, abs=1e-12)
    assert memoriser_floor(x_NC, 0 * g).value == pytest.approx(free.value)
    assert memoriser_floor(x_NC, g, label_dropout=0.25).value == pytest.approx(0.25 * free.value)
    told = memoriser_floor(x_NC, g % 2).value
    assert 0 < told < free.value
    mixed = memoriser_floor(x_NC, g % 2, label_dropout=0.5).value
    assert mixed == pytest.approx((told + free.value) / 2)


def test_it_is_a_function_of_the_seed_and_its_standard_error_is_honest() -> None:
    x_NC = normal(50, 2)
    assert memoriser_floor(x_NC, seed=3) == memoriser_floor(x_NC, seed=3)
    floors = [memoriser_floor(x_NC, draws=128, seed=seed) for seed in range(60)]
    assert fmean(floor.stderr for floor in floors) == pytest.approx(stdev(f.value for f in floors), rel=0.3)


def test_tokens_and_channels_are_flattened() -> None:
    x_NC = normal(20, 6)
    assert memoriser_floor(x_NC.view(20, 2, 3)) == memoriser_floor(x_NC)


@pytest.mark.parametrize(
    "x_NC,options,said",
    [
        (torch.zeros(0, 3), {}, "at least one value"),
        (torch.zeros(3, 2, dtype=torch.long), {}, "finite floats"),
        (torch.full((2, 2), torch.nan), {}, "finite floats"),
        (torch.zeros(3, 2), {"labels_N": torch.zeros(2)}, "one for each of the 3 points"),
        (torch.zeros(3, 2), {"label_dropout": 0.1}, "no labels"),
        (torch.zeros(3, 2), {"draws": 5}, "even numbers"),
    ],
)
def test_what_has_no_floor_is_refused(x_NC: Tensor, options: dict, said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        memoriser_floor(x_NC, **options)


@pytest.mark.slow
def test_the_floor_of_mnist_is_the_published_one_and_halves_with_the_range() -> None:
    """All 60 000 images; about five CPU seconds."""
    floor = pixel_floor((-1.0, 1.0), 60_000, draws=1024)
    assert 0.076 < floor.value < 0.080 and floor.stderr < 0.015 * floor.value
    few, half = pixel_floor((-1.0, 1.0), 500, draws=64), pixel_floor((0.0, 1.0), 500, draws=64)
    assert half.value == few.value / 2 and few.value < floor.value
