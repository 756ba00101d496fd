"""How a judge is trained: real images with small blemishes against images that are none of the classes."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bakeoff.metrics.images.classifiers import Classifier, colour32, folded, grey28
from bakeoff.metrics.images.corruptions import OF_COLOUR, OF_DIGITS, OF_EMOJI, Corruption, corrupt

NEGATIVE_WEIGHT = 0.3  # some blends of two digits are digits: in doubt, for the image


@dataclass(frozen=True)
class Recipe:
    """A judge's training.

    Attributes:
        network: the number of classes -> what is trained.
        finished: what is kept of it.
        corruptions: that make the images of no class.
        augment: small blemishes, of real and corrupted images alike, so that they do not tell them apart.
        batch: real images a step.
        corrupted: and corrupted ones.
        weight: of the loss of a corrupted one; of a real one it is 1.
    """

    network: Callable[[int], Classifier]
    finished: Callable[[Classifier], Classifier]
    corruptions: Mapping[str, Corruption]
    augment: Callable[[Tensor, Generator], Tensor]
    batch: int
    corrupted: int
    weight: float
    lr: float = 3e-3
    classes: int = 10


def blemished(x: Tensor, g: Generator) -> Tensor:
    """Shift by up to two pixels, blur a third of the images a little, add noise up to 0.1."""
    dy, dx = torch.randint(-2, 3, (2,), generator=g).tolist()
    x = x.roll((dy, dx), (-2, -1))  # a digit's two-pixel margin is background
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    return _noised(x, blurred, g)


def blemished_colour(x: Tensor, g: Generator) -> Tensor:
    """The same, with what lies at the border going on beyond it."""
    dy, dx = torch.randint(-2, 3, (2,), generator=g).tolist()
    side = x.shape[-1]
    around = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = around[..., 2 + dy : 2 + dy + side, 2 + dx : 2 + dx + side]
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return _noised(x, blurred, g)


def _noised(x: Tensor, blurred: Tensor, g: Generator) -> Tensor:
    amount = torch.rand(len(x), 1, 1, 1, generator=g) * (torch.rand(len(x), 1, 1, 1, generator=g) < 0.33)
    x = (1 - amount) * x + amount * blurred
    level = torch.rand(len(x), 1, 1, 1, generator=g) * 0.1
    return (x + level * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def _trained_norms(classes: int) -> Classifier:
    return colour32(classes, norms=True)


DIGITS = Recipe(grey28, lambda trained: trained, OF_DIGITS, blemished, 256, 256, NEGATIVE_WEIGHT)
GREY = Recipe(grey28, lambda trained: trained, OF_DIGITS, blemished_colour, 128, 4 * len(OF_DIGITS), 1.0)
COLOUR = Recipe(_trained_norms, folded, OF_COLOUR, blemished_colour, 128, 32, 1.0)
EMOJI = Recipe(_trained_norms, folded, OF_EMOJI, blemished_colour, 128, 32, 1.0)


def train(recipe: Recipe, images_NCHW: Tensor, labels_N: Tensor, epochs: int, seed: int) -> Classifier:
    """The finished classifier; says on standard error how far it is."""
    torch.manual_seed(seed)
    g = Generator().manual_seed(seed)
    classifier = recipe.network(recipe.classes)
    steps = epochs * (len(images_NCHW) // recipe.batch)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=recipe.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=steps)
    weight = torch.ones(recipe.classes + 1)
    weight[-1] = recipe.weight
    started = time.time()
    for step in range(steps):
        pick = torch.randint(len(images_NCHW), (recipe.batch,), generator=g)
        other = torch.randint(len(images_NCHW), (recipe.corrupted,), generator=g)
        bad = recipe.augment(corrupt(images_NCHW[other], g, recipe.corruptions.values()), g)
        x = torch.cat([recipe.augment(images_NCHW[pick], g), bad])
        y = torch.cat([labels_N[pick], torch.full((len(bad),), recipe.classes)])
        _, logits = classifier(x)
        loss = F.cross_entropy(logits, y, weight=weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}/{steps}  loss {loss.item():.4f}  {time.time() - started:.0f} s", file=sys.stderr)
    return recipe.finished(classifier.eval()).requires_grad_(False)
