"""Paths and samplers against other people's: diffusers always; flow_matching and torchcfm where they are installed.

pip install --no-deps flow_matching torchdiffeq torchcfm pot
"""

import math

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.objectives import prediction, samplers
from bakeoff.objectives.coupling import coupled
from bakeoff.objectives.paths import TRAINED, Betas, Discrete, Linear, squared_signal
from bakeoff.objectives.prediction import Read
from bakeoff.objectives.solver import states

diffusers = pytest.importorskip("diffusers")
SCHEDULES: dict[Betas, str] = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
MEAN, VARIANCE = 0.3, 0.25
X = torch.randn(4, 3, 8, dtype=torch.float64, generator=Generator().manual_seed(0))


def noise_of(x: Tensor, square: Tensor) -> Tensor:
    """The noise in x where the data are N(MEAN, VARIANCE)."""
    return (x - square.sqrt() * MEAN) * (1 - square).sqrt() / (square * VARIANCE + 1 - square)


def denoise(path: Discrete, betas: Betas = "linear"):
    squares_K = squared_signal(betas)

    def read(x: Tensor, t: float) -> Read:
        square = squares_K[round((1 - t) * TRAINED)]
        return prediction.read("epsilon", noise_of(x, square), x, square.sqrt(), (1 - square).sqrt(), path.least)

    return read


def theirs(scheduler, x: Tensor, **options) -> Tensor:
    for t in scheduler.timesteps:
        x = scheduler.step(noise_of(x, scheduler.alphas_cumprod[t].double()), t, x, **options).prev_sample
    return x


def last(states) -> Tensor:
    *_, end = states
    return end


@pytest.mark.parametrize("betas", SCHEDULES)
def test_the_schedules_are_diffusers(betas: Betas) -> None:
    scheduler = diffusers.DDPMScheduler(TRAINED, beta_schedule=SCHEDULES[betas])
    assert (scheduler.alphas_cumprod.double() - squared_signal(betas)).abs().max() < 5e-7


@pytest.mark.parametrize("grid", ["leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 50, 100, 250, 1000])
def test_ddim_is_diffusers(steps: int, grid) -> None:
    scheduler = diffusers.DDIMScheduler(
        TRAINED, beta_schedule="linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing=grid, steps_offset=0
    )
    scheduler.set_timesteps(steps)
    path = Discrete()
    ours = samplers.ddim(denoise(path), path, X, path.grid(steps, grid), 0.0, lambda step: X)
    assert (last(ours) - theirs(scheduler, X, eta=0.0)).abs().max() < 2e-5


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddims_noise_is_diffusers(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(
        TRAINED, beta_schedule="linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(20)
    path, g = Discrete(), Generator().manual_seed(1)
    expected = theirs(scheduler, X, eta=eta, generator=Generator().manual_seed(1))
    ours = samplers.ddim(
        denoise(path),
        path,
        X,
        path.grid(20, "trailing"),
        eta,
        lambda step: torch.randn(X.shape, generator=g, dtype=X.dtype),
    )
    assert (last(ours) - expected).abs().max() < 2e-5


@pytest.mark.parametrize(("exact", "allowed"), [(True, 1e-9), (False, 3e-5)], ids=["float64", "their float32"])
def test_a_thousand_ancestral_steps_are_diffusers(exact: bool, allowed: float) -> None:
    """Most of the difference is their table: 1 - abar of the last steps in float32."""
    scheduler = diffusers.DDPMScheduler(TRAINED, beta_schedule="linear", clip_sample=False, variance_type="fixed_small")
    if exact:
        scheduler.alphas_cumprod, scheduler.one = squared_signal("linear"), torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(TRAINED)
    expected = theirs(scheduler, X, generator=Generator().manual_seed(1))
    path, g = Discrete(), Generator().manual_seed(1)
    ours = samplers.ddim(
        denoise(path),
        path,
        X,
        path.grid(TRAINED, "trailing"),
        1.0,
        lambda step: torch.randn(X.shape, generator=g, dtype=X.dtype),
    )
    assert (last(ours) - expected).abs().max() < allowed


@pytest.mark.parametrize("steps", [2, 3, 5, 10, 20, 50])
def test_dpm_solver_is_diffusers(steps: int) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        TRAINED,
        beta_schedule="linear",
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(steps)
    path = Discrete()
    ours = samplers.dpmpp2m(denoise(path), path, X, [1 - int(t) / TRAINED for t in scheduler.timesteps])
    assert (last(ours) - theirs(scheduler, X)).abs().max() < 2e-5


def test_the_linear_path_and_its_solvers_are_flow_matchings() -> None:
    path_of = pytest.importorskip("flow_matching.path").CondOTProbPath()
    solver_of = pytest.importorskip("flow_matching.solver").ODESolver
    wrapper = pytest.importorskip("flow_matching.utils").ModelWrapper
    g = Generator().manual_seed(2)
    noise, data, t_B = torch.randn(6, 4, 3, generator=g), torch.randn(6, 4, 3, generator=g), torch.rand(6, generator=g)
    sample = path_of.sample(t=t_B, x_0=noise, x_1=data)
    a, s = (one[:, None, None] for one in Linear().at(t_B))
    assert (sample.x_t - (s * noise + a * data)).abs().max() < 1e-6
    assert torch.equal(sample.dx_t, prediction.target("velocity", data, noise, a, s))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(x) * (1 + (t if t.ndim == 0 else t[:, None, None]))

    class Model(wrapper):
        def forward(self, x, t, **others):
            return velocity(x, t)

    for name, solver in (("euler", "euler"), ("midpoint", "midpoint"), ("heun2", "heun")):
        made = solver_of(Model(torch.nn.Identity())).sample(
            x_init=noise, step_size=0.1, method=name, time_grid=torch.tensor([0.0, 1.0])
        )
        assert (made - last(states(velocity, noise, 10, solver))).abs().max() < 5e-6  # pyright: ignore


def test_the_coupling_is_torchcfms_where_its_plan_is_an_assignment() -> None:
    matching = pytest.importorskip("torchcfm.conditional_flow_matching")
    g = Generator().manual_seed(3)
    noise, data, t_B = torch.randn(9, 4, 3, generator=g), torch.randn(9, 4, 3, generator=g), torch.rand(9, generator=g)
    _, x_t, u_t = matching.ConditionalFlowMatcher(sigma=0.0).sample_location_and_conditional_flow(noise, data, t=t_B)
    a, s = (one[:, None, None] for one in Linear().at(t_B))
    assert torch.allclose(x_t, s * noise + a * data) and torch.allclose(u_t, data - noise)
    plan = matching.OTPlanSampler(method="exact").get_map(noise, data)  # (noise, data), 1 / 9 where they are a pair
    pairs = torch.from_numpy(plan).argmax(0)
    assert torch.equal(coupled(noise, data, None), noise[pairs])
    assert math.isclose(float(plan.max()), 1 / 9, rel_tol=1e-6)
