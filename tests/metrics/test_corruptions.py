"""What a judge learns to refuse: every kind of corruption that its recipe names."""

import pytest
import torch
from torch import Generator

from bakeoff.metrics.images import training
from bakeoff.metrics.images.corruptions import corrupt


@pytest.mark.parametrize("name", ["DIGITS", "GREY", "COLOUR", "EMOJI"])
def test_every_kind_occurs_in_every_step(name: str) -> None:
    recipe: training.Recipe = getattr(training, name)
    met = []

    def marked(kind: str):
        def as_it_is(x, g):
            met.append((kind, len(x)))
            return x

        return as_it_is

    kinds = [marked(kind) for kind in recipe.corruptions]
    images = torch.zeros(recipe.corrupted, 1, 28, 28)
    assert len(corrupt(images, Generator().manual_seed(0), kinds)) == recipe.corrupted
    assert [kind for kind, _ in met] == list(recipe.corruptions) and min(count for _, count in met) >= 1


def test_too_few_images_for_all_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        corrupt(torch.zeros(2, 1, 28, 28), Generator(), [lambda x, g: x] * 3)
