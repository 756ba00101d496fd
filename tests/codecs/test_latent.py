"""The frozen autoencoders: tokens of unit variance, images near the originals, and none for other images."""

import pytest
import torch

from bakeoff.codecs.latent import DIGITS, EMOJI, Design, LatentCodec
from bakeoff.data import as_images
from bakeoff.data.emoji import draw
from bakeoff.data.mnist import load_mnist
from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.images import Images


def images_of(design: Design) -> torch.Tensor:
    return as_images(load_mnist("test").images[:500] if design is DIGITS else draw("test", 500).images)


@pytest.mark.parametrize("design", [DIGITS, EMOJI], ids=lambda one: one.name)
def test_it_restores_images_and_its_tokens_have_unit_variance(design: Design) -> None:
    images, codec = images_of(design), LatentCodec(design)
    tokens_BLC = codec.encode(images)
    assert (
        tokens_BLC.shape
        == (500, (design.side // 4) ** 2, design.latent)
        == (500, codec.space.length, codec.space.channels)
    )
    assert tokens_BLC.mean().abs() < 0.1 and abs(tokens_BLC.std().item() - 1) < 0.1
    assert (codec.decode(tokens_BLC) - images).square().mean() < 0.01 < images.var()


@pytest.mark.parametrize("design", [DIGITS, EMOJI], ids=lambda one: one.name)
def test_its_decoder_forgives_small_errors_of_a_generator(design: Design) -> None:
    """Noise of a twentieth of the tokens' deviation adds less than the codec's own error twice over."""
    images, codec = images_of(design), LatentCodec(design)
    tokens_BLC = codec.encode(images)
    noisy_BLC = tokens_BLC + 0.05 * torch.randn(tokens_BLC.shape, generator=torch.Generator().manual_seed(0))
    errors = [(codec.decode(one) - images).square().mean() for one in (tokens_BLC, noisy_BLC)]
    assert errors[0] < errors[1] < 3 * errors[0]


@pytest.mark.parametrize(("design", "preset"), [(DIGITS, "smoke"), (EMOJI, "emoji-smoke")])
def test_the_judge_takes_its_reconstructions_for_real(design: Design, preset: str) -> None:
    """Within a tenth of the originals' Fréchet distance, by which an autoencoder is accepted."""
    task, codec = build_task(load_protocol(preset)), LatentCodec(design)
    assert isinstance(task, Images)
    originals = as_images(task.images("test").images[:256])
    restored = codec.decode(codec.encode(originals))
    real, made = (task.judged(one, None).figures for one in (originals, restored))
    assert made["frechet"] < 1.1 * real["frechet"] and made["recognised"] > 0.97 * real["recognised"]


def test_a_protocol_of_emoji_takes_it() -> None:
    changes = ['codec={kind="latent"}', "training.steps=2"]
    task = build_task(load_protocol("emoji-smoke", changes))
    assert (task.space.length, task.space.channels, task.space.grid) == (64, 8, (8, 8))
    assert task.inputs()["codec"] == LatentCodec(EMOJI).fingerprint() != LatentCodec(DIGITS).fingerprint()


@pytest.mark.parametrize("kind", ["fashion", "cifar10"])
def test_none_ships_for_other_images(kind: str) -> None:
    with pytest.raises(BakeoffError, match=r"latent; autoencoders ship for mnist, emoji; allowed here: pixel, pca"):
        load_protocol("cifar10", ['codec={kind="latent"}', f'task={{kind="{kind}"}}'])
