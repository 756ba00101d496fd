"""The judge of emoji: its bar against images of known kind that did not choose its thresholds."""

from functools import cache

import pytest
import torch
from torch import Generator, Tensor

from bakeoff.data import as_images
from bakeoff.metrics.images.classifiers import colour32, folded
from bakeoff.metrics.images.corruptions import OF_EMOJI, shuffle
from bakeoff.protocol.figures import IMAGES
from bakeoff.protocol.measurement import check_bar
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.emoji import Emoji
from bakeoff.tasks.images import UNSEEN

DRAWS, SEED = 8, 4242


@cache
def task() -> Emoji:
    built = build_task(load_protocol("emoji-smoke"))
    assert isinstance(built, Emoji)
    return built


@cache
def held_out() -> tuple[Tensor, Tensor]:
    """Test images that neither calibration nor reference reads, and their classes."""
    images = task().images("test")
    return as_images(images.images[1::2][UNSEEN:]), torch.from_numpy(images.labels_N[1::2][UNSEEN:]).long()


def passes(images_BCHW: Tensor, labels_B: Tensor) -> bool:
    quality = task().judged(images_BCHW, labels_B)
    return all(check.passed for check in check_bar(task().protocol.bar, quality, IMAGES))


def draws():
    images, labels_N = held_out()
    for draw in range(DRAWS):
        g = Generator().manual_seed(1000 * SEED + draw)
        pick = torch.randperm(len(images), generator=g)[: task().protocol.bar.samples]
        yield images[pick], labels_N[pick], g


def test_held_out_images_pass() -> None:
    assert all(passes(images, labels_B) for images, labels_B, _ in draws())


@pytest.mark.parametrize("kind", OF_EMOJI)
def test_images_of_no_class_fail(kind: str) -> None:
    assert not any(passes(OF_EMOJI[kind](images, g), labels_B) for images, labels_B, g in draws())


UNTRAINED = {
    "N(0, 1)": lambda x, g: torch.randn(x.shape, generator=g),
    "black": lambda x, g: torch.full_like(x, -1.0),
    "2x2 patches": lambda x, g: shuffle(x, 2, g),
    "upside-down halves": lambda x, g: torch.cat([x[..., :16, :], x.flip(-2)[..., 16:, :]], -2).roll(16, -2),
    "one image only": lambda x, g: x[:1].expand(len(x), -1, -1, -1),
    "grey": lambda x, g: x.mean(1, keepdim=True).expand_as(x),
    "channels rotated": lambda x, g: x.roll(1, 1),
    "flow at t = 0.8": lambda x, g: 0.2 * torch.randn(x.shape, generator=g) + 0.8 * x,
    "blurred 4 x 4": lambda x, g: torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(x, 4), scale_factor=4),
    "half of them noise": lambda x, g: torch.cat([torch.randn(len(x) // 2, *x.shape[1:], generator=g), x[::2]]),
}


@pytest.mark.parametrize("kind", UNTRAINED)
def test_failures_the_judge_was_not_trained_on_fail(kind: str) -> None:
    assert not any(passes(UNTRAINED[kind](images, g), labels_B) for images, labels_B, g in draws())


def test_more_than_the_bar_tells_real_images_from_others() -> None:
    """Asked for, precision and recall are near 1; copies of training images stand out."""
    images, labels_B, _ = next(draws())
    figures = task().judged(images, labels_B).figures
    assert figures["asked_for"] > 0.95 and figures["precision"] > 0.7 and figures["recall"] > 0.7
    assert abs(figures["copying"]) < 4 and figures["authentic"] > 0.2
    copies = as_images(task().images("train").images[:64])
    copied = task().judged(copies, None).figures
    assert copied["authentic"] == 0 and copied["copying"] < -10 and "asked_for" not in copied
    assert task().judged(images, (labels_B + 1) % 10).figures["asked_for"] < 0.05


def test_a_norm_is_taken_into_the_convolution_before_it() -> None:
    torch.manual_seed(0)
    trained = colour32(10, norms=True)
    for _ in range(3):
        trained(torch.randn(8, 3, 32, 32) * 2 + 1)
    trained.eval()
    images = torch.randn(3, 3, 32, 32)
    for whole, plain in zip(trained(images), folded(trained)(images), strict=True):
        assert torch.allclose(whole, plain, atol=1e-5)
