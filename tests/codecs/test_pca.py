"""Principal components: numpy's, exact with all of them, the best with fewer, and no image's fault."""

from functools import partial

import numpy as np
import pytest
import torch

from bakeoff.codecs.pca import GRAIN, PcaCodec
from bakeoff.codecs.pixel import PixelCodec
from bakeoff.data import as_images
from bakeoff.data.emoji import draw
from bakeoff.data.mnist import load_mnist

IMAGES = draw("train", 300).images


def codec(components: int, patch: int = 4) -> PcaCodec:
    return PcaCodec(patch, components, 32, 3, lambda: IMAGES)


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_it_is_numpys_basis(patch: int) -> None:
    patches = PixelCodec(patch, 32, 3).encode(as_images(IMAGES)).flatten(0, 1).double().numpy()
    values, vectors = np.linalg.eigh(np.cov(patches.T, bias=True))
    basis = codec(5, patch).basis
    assert basis.mean_V.numpy() == pytest.approx(patches.mean(0), abs=1e-5)
    overlap = np.abs(basis.directions_VC.double().numpy().T @ vectors[:, ::-1][:, :5])
    assert overlap == pytest.approx(np.eye(5), abs=1e-4)
    assert basis.scale == pytest.approx(np.sqrt(values[::-1][:5].mean()), abs=1e-5)
    assert (basis.directions_VC / GRAIN == (basis.directions_VC / GRAIN).round()).all()


def test_all_components_give_the_images_back_and_tokens_have_unit_variance() -> None:
    whole, images = codec(48), as_images(IMAGES[:16])
    tokens = whole.encode(images)
    assert tokens.shape == (16, 64, 48) and whole.space.grid == (8, 8)
    assert (whole.decode(tokens) - images).abs().max() < 1e-4
    assert whole.encode(as_images(IMAGES)).var((0, 1)).mean().item() == pytest.approx(1, abs=0.01)


def test_more_components_are_nearer_and_none_is_nearer_than_these() -> None:
    images = as_images(IMAGES)
    errors = [(codec(k).decode(codec(k).encode(images)) - images).square().mean().item() for k in (1, 4, 16, 47)]
    assert errors == sorted(errors, reverse=True)
    turned = torch.linalg.qr(torch.randn(48, 16, generator=torch.Generator().manual_seed(0)))[0]
    patches = PixelCodec(4, 32, 3).encode(images)
    mean = patches.mean((0, 1))
    other = ((patches - mean) @ turned @ turned.T + mean - patches).square().mean().item()
    assert errors[2] < 0.2 * other


def test_grey_images_have_one_too_and_equal_images_the_same() -> None:
    make = partial(PcaCodec, 4, 6, 28, 1)
    digits = load_mnist("test").images[:200]
    first, again = make(lambda: digits), make(lambda: digits.copy())
    assert first.fingerprint() == again.fingerprint() != make(lambda: digits[:199]).fingerprint()
    assert first.decode(first.encode(as_images(digits[:3]))).shape == (3, 1, 28, 28)


def test_images_of_one_colour_leave_nothing_to_divide_by() -> None:
    flat = PcaCodec(4, 3, 32, 3, lambda: np.full((2, 32, 32, 3), 77, np.uint8))
    assert flat.encode(as_images(np.full((1, 32, 32, 3), 77, np.uint8))).abs().max() < 1
