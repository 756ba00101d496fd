"""The judges' networks: some convolutions, 64 features, the classes and "none of them".

Shapes: B images, F = 64 features, K = classes + 1.
"""

import torch
from torch import Tensor, nn

FEATURES = 64


class Classifier(nn.Module):
    """Features and logits of images (B, C, H, W) in [-1, 1].

    Args:
        trunk: maps images to features.
        classes: besides "none of them", which comes last.
    """

    def __init__(self, trunk: nn.Sequential, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.classify = nn.Linear(FEATURES, classes + 1)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) before the non-linearity, and logits (B, K)."""
        features_BF = self.trunk(images_BCHW)
        return features_BF, self.classify(torch.relu(features_BF))


def grey28(classes: int) -> Classifier:
    """For 28x28 grey images."""
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, FEATURES),
    )
    return Classifier(trunk, classes)


def colour32(classes: int, *, norms: bool = False) -> Classifier:
    """For 32x32 colour images; 0.32 M parameters, 4.2 M multiply-adds an image.

    Args:
        norms: with BatchNorm, to be trained; `folded` takes it away.
    """

    def convolved(read: int, made: int, side: int, stride: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(made)] if norms else []
        return [nn.Conv2d(read, made, side, stride, padding=1), *norm, nn.ReLU()]

    trunk = nn.Sequential(
        *convolved(3, 32, 4, 2),
        *convolved(32, 64, 3, 2),
        *convolved(64, 64, 3, 1),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, FEATURES),
    )
    return Classifier(trunk, classes)


@torch.no_grad()
def folded(trained: Classifier) -> Classifier:
    """The same function in evaluation, every norm taken into the convolution before it."""
    classes = trained.classify.out_features - 1
    made = colour32(classes)
    made.classify.load_state_dict(trained.classify.state_dict())
    kept = [layer for layer in trained.trunk if not isinstance(layer, nn.BatchNorm2d)]
    norms = iter([layer for layer in trained.trunk if isinstance(layer, nn.BatchNorm2d)])
    for layer, ours in zip(kept, made.trunk, strict=True):
        ours.load_state_dict(layer.state_dict())
        if isinstance(ours, nn.Conv2d):
            norm = next(norms)
            assert norm.running_mean is not None and norm.running_var is not None and ours.bias is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            ours.weight.mul_(scale[:, None, None, None])
            ours.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return made.eval()
