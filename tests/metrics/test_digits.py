"""The judge: exact distances, and the bar against images of known kind that did not choose its thresholds."""

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.data import as_images, load_mnist
from bakeoff.metrics import images as judges
from bakeoff.metrics.frechet import frechet_distance, moments
from bakeoff.metrics.images.corruptions import OF_DIGITS, shuffle
from bakeoff.protocol.figures import DIGITS
from bakeoff.protocol.measurement import Quality, check_bar
from bakeoff.protocol.presets import load_protocol, preset_names
from tiers import slow

DRAWS = {64: 20, 256: 12, 1024: 3}
SEED = 4242


def assess(images_B1HW: Tensor) -> Quality:
    return judges.assess(judges.load_judge("digits"), judges.shipped_reference("digits"), images_B1HW)


@pytest.fixture(scope="module")
def held_out() -> Tensor:
    """Every second test digit: the judge has not seen them, and `bakeoff calibrate` uses the others."""
    return as_images(load_mnist("test").images[1::2])


def passes(images_B1HW: Tensor) -> bool:
    """Whether the bar of digits for this sample count lets the images through; all presets agree on it."""
    protocols = [load_protocol(name) for name in preset_names()]
    bars = [protocol.bar for protocol in protocols if protocol.task.kind == "mnist"]
    bar, *others = [bar for bar in bars if bar.samples == len(images_B1HW)]
    assert all(other == bar for other in others)
    quality = assess(images_B1HW)
    return all(check.passed for check in check_bar(bar, quality, DIGITS))


def draws(held_out: Tensor, count: int):
    for draw in range(DRAWS[count]):
        g = Generator().manual_seed(1000 * SEED + draw)
        yield held_out[torch.randperm(len(held_out), generator=g)[:count]], g


@pytest.mark.parametrize("count", DRAWS)
def test_held_out_digits_pass(held_out: Tensor, count: int) -> None:
    assert all(passes(images) for images, _ in draws(held_out, count))


@pytest.mark.parametrize("count", [min(DRAWS), *(slow(count) for count in DRAWS if count > min(DRAWS))])
@pytest.mark.parametrize("kind", OF_DIGITS)
def test_images_that_are_not_digits_fail(held_out: Tensor, kind: str, count: int) -> None:
    assert not any(passes(OF_DIGITS[kind](images, g)) for images, g in draws(held_out, count))


UNTRAINED = {
    "N(0, 1)": lambda x, g: torch.randn(x.shape, generator=g),
    "black": lambda x, g: torch.full_like(x, -1.0),
    "white": lambda x, g: torch.ones_like(x),
    "4x4 patches": lambda x, g: shuffle(x, 4, g),
    "independent pixels": lambda x, g: (
        x[torch.randint(len(x), x.shape, generator=g)[:, 0, 0, 0]].roll(7, 0) * (torch.rand(x.shape, generator=g) < 0.5)
    ),
    "upside-down halves": lambda x, g: torch.cat([x[..., :14, :], x.flip(-2)[..., 14:, :]], -2).roll(14, -2),
    "one digit only": lambda x, g: x[:1].expand(len(x), -1, -1, -1),
    "flow at t = 0.6": lambda x, g: 0.4 * torch.randn(x.shape, generator=g) + 0.6 * x,
    "half of them noise": lambda x, g: torch.where(
        torch.arange(len(x))[:, None, None, None] % 2 == 0, torch.randn(x.shape, generator=g), x
    ),
}


@pytest.mark.parametrize("kind", UNTRAINED)
def test_failures_the_judge_was_not_trained_on_fail(held_out: Tensor, kind: str) -> None:
    assert not any(passes(UNTRAINED[kind](images, g)) for images, g in draws(held_out, 256))


def test_frechet_distance_of_commuting_gaussians() -> None:
    """Diagonal covariances: |m1 - m2|^2 + sum (sqrt a - sqrt b)^2."""
    g = Generator().manual_seed(0)
    a, b = torch.rand(64, dtype=torch.float64, generator=g), torch.rand(64, dtype=torch.float64, generator=g)
    m = torch.randn(64, dtype=torch.float64, generator=g)
    expected = m.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    found = frechet_distance(m, a.diag(), torch.zeros(64, dtype=torch.float64), b.diag())
    assert found == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_distance_is_symmetric_rotation_invariant_and_zero_on_itself() -> None:
    g = Generator().manual_seed(1)
    x, y = torch.randn(40, 64, generator=g), 1.5 * torch.randn(200, 64, generator=g) + 0.2
    rotation = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64, generator=g))[0]
    there = frechet_distance(*moments(x), *moments(y))
    assert there == pytest.approx(frechet_distance(*moments(y), *moments(x)), rel=1e-6)
    turned = frechet_distance(*moments(x.double() @ rotation), *moments(y.double() @ rotation))
    assert there == pytest.approx(turned, rel=1e-6)
    assert frechet_distance(*moments(x), *moments(x)) == pytest.approx(0, abs=1e-5)


def test_sharpness_of_real_digits_is_one(held_out: Tensor) -> None:
    assert assess(held_out).figures["sharpness"] == pytest.approx(1.0, abs=0.03)
