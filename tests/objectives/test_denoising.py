"""Denoising objectives: every prediction means the same data and noise, and samplers follow closed forms."""

import math
from itertools import pairwise, product
from typing import get_args

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.models.batch import Batch
from bakeoff.objectives import prediction
from bakeoff.objectives.coupling import coupled
from bakeoff.objectives.ddpm import Ddpm
from bakeoff.objectives.denoising import Denoising
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.objectives.flow import Flow
from bakeoff.objectives.paths import TRAINED, Discrete, Linear, Path, squared_signal
from bakeoff.objectives.prediction import Prediction
from bakeoff.protocol.sections.sampling import Solver

PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
PATHS: dict[str, Path] = {"linear": Linear(), "linear betas": Discrete(), "cosine betas": Discrete("cosine")}
MEAN, VARIANCE = 0.3, 0.25  # of Gaussian data


def rows(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, 3, generator=Generator().manual_seed(seed), dtype=torch.float64)


def signal(path: Path, t: float) -> tuple[Tensor, Tensor]:
    return path.at(torch.tensor(t, dtype=torch.float64))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("t", [0.06, 0.3, 0.5, 0.9, 0.94])
def test_data_and_noise_are_read_off_every_prediction(name: str, kind: Prediction, t: float) -> None:
    path, data, noise = PATHS[name], rows(4), rows(4, 1)
    a, s = signal(path, t)
    said = prediction.target(kind, data, noise, a, s)
    p, q = prediction.coefficients(kind, a, s)
    torch.testing.assert_close(said, p * data + q * noise)
    torch.testing.assert_close(prediction.determinant(kind, a, s), a * q - s * p)
    found = prediction.read(kind, said, a * data + s * noise, a, s, path.least)
    torch.testing.assert_close(found.data, data, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.noise, noise, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("given", "scored"), list(product(PREDICTIONS, PREDICTIONS)))
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_an_error_in_one_space_is_scaled_into_another(
    name: str, given: Prediction, scored: Prediction, t: float
) -> None:
    """The error of what is scored, where the network's answer is off: from data and noise as the answer means them."""
    path, data, noise, missed = PATHS[name], rows(4), rows(4, 1), rows(4, 2)
    a, s = signal(path, t)
    meant = prediction.read(given, prediction.target(given, data, noise, a, s) + missed, a * data + s * noise, a, s, 0)
    off = prediction.target(scored, *meant, a, s) - prediction.target(scored, data, noise, a, s)
    factor = prediction.scale(given, scored, a, s, path.least)
    torch.testing.assert_close(off.abs(), (factor * missed).abs())
    weight = prediction.weight(given, scored, a, s, path.least)
    torch.testing.assert_close(off.square(), weight * (meant.data - data).square())


def test_betas_are_those_of_the_papers() -> None:
    linear, cosine = squared_signal("linear"), squared_signal("cosine")
    betas = torch.linspace(1e-4, 0.02, TRAINED, dtype=torch.float64)
    assert linear[0] == 1 - 1e-4 and linear[-1].item() == pytest.approx(math.exp(torch.log1p(-betas).sum()), rel=1e-9)
    assert linear[-1].item() == pytest.approx(4.04e-5, rel=2e-3) and cosine[-1].item() == pytest.approx(
        2.4e-9, rel=0.02
    )
    assert 1 - cosine[0].item() == pytest.approx(4.13e-5, rel=1e-3)


@pytest.mark.parametrize("name", PATHS)
def test_times_and_signals_belong_together(name: str) -> None:
    path = PATHS[name]
    t = path.even(2 * TRAINED).double()
    a, s = path.at(t)
    assert (a.diff() * t.diff() >= 0).all() and (s.diff() * t.diff() <= 0).all()
    if isinstance(path, Discrete):
        torch.testing.assert_close(a.square() + s.square(), torch.ones_like(a))
        k = torch.arange(TRAINED)
        torch.testing.assert_close(path.at(path.times(k))[0].square().double(), path._squares_K, atol=2e-7, rtol=2e-5)
    torch.testing.assert_close(path.time_of(a / (a + s)), t, atol=1e-6, rtol=0)
    ends = path.time_of(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == ([0.0, 1.0] if path.ends else pytest.approx([1 / TRAINED, 1.0], abs=1e-6))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 250, 300, 501, 999, 1000])
def test_grids_fall_from_noise_to_data(count: int) -> None:
    path = Discrete()
    for kind in ("leading", "trailing", "flow"):
        steps = path.steps(count, kind)
        assert all(high > low for high, low in pairwise(steps)) and min(steps) >= 0
        assert len(steps) == count or kind == "flow"
    assert path.steps(count, "trailing")[0] == TRAINED - 1 and path.steps(count, "leading")[-1] == 0
    assert path.steps(count, "leading")[0] == math.floor(TRAINED - TRAINED / count)
    if count == TRAINED:
        assert path.steps(count, "trailing") == path.steps(count, "leading") == list(reversed(range(TRAINED)))


def exact(objective: Denoising):
    """The network that knows Gaussian data N(MEAN, VARIANCE): e^ = s (x - a m) / (a^2 v + s^2)."""

    def network(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
        a, s = (one[:, None, None] for one in objective.path.at(t_B.double()))
        noise = s * (x - a * MEAN) / (a**2 * VARIANCE + s**2)
        data = MEAN + a * VARIANCE * (x - a * MEAN) / (a**2 * VARIANCE + s**2)
        return prediction.target(objective.prediction, data, noise, a, s)

    return network


def error(objective: Denoising, section: Solver, count: int = 64) -> float:
    """RMS distance to the exact flow's end, m + sqrt(v) x_0."""
    noise = rows(count)
    *_, end = objective.states(exact(objective), Batch(x=noise), noise, section, seed=0)  # pyright: ignore
    return (end - (MEAN + math.sqrt(VARIANCE) * noise)).square().mean().sqrt().item()


@pytest.mark.parametrize("kind", ["epsilon", "data", "v", "velocity"])
@pytest.mark.parametrize(
    ("solver", "steps", "published"),
    [
        *[("ddim", n, e) for n, e in ((1, 0.504), (2, 0.433), (5, 0.240), (10, 0.132), (20, 0.069), (1000, 0.0018))],
        *[("dpmpp2m", n, e) for n, e in ((2, 0.433), (5, 0.231), (10, 0.096), (20, 0.022), (50, 0.0011))],
    ],
)
def test_gaussian_data_are_reached_as_nearly_as_the_order_allows(kind, solver, steps: int, published: float) -> None:
    """The distances of the closed form on the trailing grid, linear betas; what is predicted makes no difference."""
    section = Solver(steps=steps, solver=solver)
    assert error(Ddpm(prediction=kind), section) == pytest.approx(published, rel=0.15)


@pytest.mark.parametrize("kind", ["epsilon", "data", "v", "velocity"])
def test_on_the_linear_path_ddim_is_euler(kind: Prediction) -> None:
    flow, noise = Flow(prediction=kind), rows(8)
    ways = [
        list(flow.states(exact(flow), Batch(x=noise), noise, Solver(steps=7, solver=solver), 0))  # pyright: ignore
        for solver in ("euler", "ddim")
    ]
    skipped = 1 if kind == "epsilon" else 0  # whose first step begins where there is no signal to divide by
    if not skipped:
        torch.testing.assert_close(torch.stack(ways[0]), torch.stack(ways[1]), atol=1e-5, rtol=1e-5)
    assert flow.steps(Solver(steps=7, solver="ddim"), Batch(x=noise)) == 7


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "dpmpp2m"])
def test_flow_solvers_serve_both_processes(solver) -> None:
    """Ten steps are nearer than DDIM's ten, on both paths; higher orders are nearer still."""
    section = Solver(steps=10, solver=solver, grid="flow")
    bound = {"euler": 0.085, "midpoint": 0.02, "heun": 0.03, "dpmpp2m": 0.06}[solver]
    for objective in (Flow(), Flow(prediction="data"), Ddpm(), Ddpm(betas="cosine", prediction="v", loss_space="v")):
        assert error(objective, section) < bound


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_cosine_betas_and_epsilon_need_a_network_without_error(kind: Prediction) -> None:
    """Why the plan warns of it: the deviation that ten steps end with, where the answers are off by 0.01."""
    objective = Ddpm(betas="cosine", prediction=kind)
    network, g, noise = exact(objective), Generator().manual_seed(1), rows(2000)

    def nearly(x, *args) -> Tensor:
        return network(x, *args) + 0.01 * torch.randn(x.shape, generator=g)

    *_, end = objective.states(nearly, Batch(x=noise), noise, Solver(steps=10, solver="ddim"), seed=0)  # pyright: ignore
    assert end.std() > 5 if kind == "epsilon" else 0.4 < end.std() < 0.5


@pytest.mark.parametrize("solver", ["euler", "heun", "ddim", "dpmpp2m"])
@pytest.mark.parametrize("start", [0.1, 0.3, 0.7])
def test_an_interval_of_guidance_costs_what_the_plan_says(solver, start: float) -> None:
    """At its very ends there is none, whether the time is of float32 or of float64."""
    flow, x, asked = Flow(), rows(2).float(), Batch(labels_B=torch.tensor([0, 1]), size=2)
    section = Solver(steps=10, solver=solver, guidance=2.0, guidance_from=start, guidance_to=0.9)
    counted = []

    def network(x, *args) -> Tensor:
        counted.append(len(x) // 2)
        return x

    list(flow.states(network, asked, x, section, seed=0))  # pyright: ignore
    assert sum(counted) == flow.nfe(section, asked)


def test_ancestral_steps_make_the_datas_mean_and_variance() -> None:
    objective, section = Ddpm(), Solver(steps=250, solver="ancestral")
    noise = rows(4000)
    *_, end = objective.states(exact(objective), Batch(x=noise), noise, section, seed=3)  # pyright: ignore
    assert end.mean().item() == pytest.approx(MEAN, abs=0.02) and end.var().item() == pytest.approx(VARIANCE, abs=0.02)


def test_noise_on_the_way_is_an_items_own() -> None:
    objective, section, noise = Ddpm(), Solver(steps=5, solver="ancestral"), rows(40).float()
    *_, whole = objective.states(exact(objective), Batch(x=noise), noise, section, seed=3)  # pyright: ignore
    *_, part = objective.states(exact(objective), Batch(x=noise), noise[17:20], section, seed=3, first=17)  # pyright: ignore
    torch.testing.assert_close(whole[17:20], part)
    *_, other = objective.states(exact(objective), Batch(x=noise), noise, section, seed=4)  # pyright: ignore
    assert not torch.allclose(whole, other)


def told(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
    return torch.zeros_like(x)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "ddim", "ancestral", "dpmpp2m"])
@pytest.mark.parametrize("objective", [Flow(), Flow(prediction="data"), Ddpm()], ids=["flow", "data", "ddpm"])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.25, 0.8)])
def test_evaluations_are_counted_as_they_are_made(objective: Denoising, solver, interval: tuple[float, float]) -> None:
    low, high = interval
    section = Solver(steps=6, solver=solver, guidance=2.0, guidance_from=low, guidance_to=high)
    seen = []

    def network(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
        seen.append(len(x) // 3)
        assert (hidden_B is None) != (low < t_B[0] < high or interval == (0.0, 1.0))
        return torch.zeros_like(x)

    prompts = Batch(labels_B=torch.zeros(3, dtype=torch.long))
    states = list(objective.states(network, prompts, torch.zeros(3, 1, 2), section, 0))
    assert len(states) == 1 + objective.steps(section, prompts) and sum(seen) == objective.nfe(section, prompts)


def test_transport_brings_noise_to_its_nearest_item_of_the_same_label() -> None:
    g = Generator().manual_seed(0)
    data, noise = torch.randn(24, 3, 2, generator=g), torch.randn(24, 3, 2, generator=g)
    labels_B = torch.arange(24) % 3
    near = coupled(noise, data, labels_B)
    for label in range(3):
        here = labels_B == label
        assert sorted(near[here].flatten(1).sum(1).tolist()) == sorted(noise[here].flatten(1).sum(1).tolist())
    assert (near - data).square().sum() < 0.95 * (noise - data).square().sum()
    assert torch.equal(coupled(data[[2, 0, 1]], data[[0, 1, 2]], None), data[:3])
    drawn = Flow(coupling="ot").draws(Batch(x=data, labels_B=labels_B), Generator().manual_seed(1))
    plain = Flow().draws(Batch(x=data, labels_B=labels_B), Generator().manual_seed(1))
    assert drawn["noise"] is not None and plain["noise"] is not None
    assert torch.equal(drawn["noise"], coupled(plain["noise"], data, labels_B)) and torch.equal(drawn["t"], plain["t"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "objective",
    [
        make(prediction=kind, loss_space=space)
        for make in (Flow, Ddpm)
        for kind, space in product(PREDICTIONS, PREDICTIONS)
    ],
    ids=lambda one: f"{type(one).__name__}-{one.prediction}-{one.loss_space}",
)
def test_the_floor_is_the_loss_of_the_best_answer(objective: Denoising) -> None:
    """On four points: the mean loss of the posterior mean is the floor, whatever is predicted and scored."""
    points = torch.tensor([[-1.0], [0.0], [0.5], [2.0]], dtype=torch.float64).view(4, 1, 1)

    def best(x, t_B=None, labels_B=None, context=None, hidden_B=None) -> Tensor:
        a, s = (one[:, None, None] for one in objective.path.at(t_B.double()))
        weights = (-(x - a * points.view(1, 1, 4)).square() / (2 * s**2)).softmax(-1)
        data = (weights * points.view(1, 1, 4)).sum(-1, keepdim=True)
        return prediction.target(objective.prediction, data, (x - a * data) / s, a, s)

    count = 40_000
    g = Generator().manual_seed(0)
    draws = objective.draws(Batch(x=points.repeat(count // 4, 1, 1)), g)
    t = objective.quantile((torch.randperm(count, generator=g).double() + 0.5) / count)
    batch = Batch(x=points.repeat(count // 4, 1, 1))
    placed = {**draws, "noise": draws["noise"].double(), "t": t}  # type: ignore[union-attr]
    squares = objective._squares(best, batch, placed)

    class Whole:
        def whole(self) -> Batch:
            return Batch(x=points)

    floor = objective.floor(Whole())
    assert floor is not None
    error = 4 * math.hypot(floor.stderr, squares.std().item() / math.sqrt(count))
    assert squares.mean().item() == pytest.approx(floor.value, abs=error)
    assert memoriser_floor(points, draws=64).value > 0
