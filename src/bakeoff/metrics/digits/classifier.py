"""The judge's classifier: eleven classes, ten digits and "not a digit", with 64 features.

Ten classes are not enough: a plain digit classifier calls noise and blank images a digit with confidence
above 0.9. The eleventh class is trained on noise, blanks, blends, shuffles and half-denoised digits
(`bakeoff.metrics.digits.corruptions`). The weights are frozen and ship with the package; `scripts/train_judge.py`
made them.

Shapes: B images, F = 64 features, K = 11 classes.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

NOT_A_DIGIT = 10
FEATURES = 64
SHIPPED = Path(__file__).parent / "weights" / "judge.safetensors"


class Classifier(nn.Module):
    """Three convolutions, 64 features, eleven classes; images_B1HW of shape (B, 1, 28, 28) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, FEATURES),
        )
        self.classify = nn.Linear(FEATURES, NOT_A_DIGIT + 1)

    def forward(self, images_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) before the non-linearity, and logits (B, K)."""
        features_BF = self.trunk(images_B1HW)
        return features_BF, self.classify(torch.relu(features_BF))


@dataclass(frozen=True)
class Judge:
    """The frozen classifier, and its feature statistics on the 60 000 real training digits."""

    classifier: Classifier
    real_mean_F: Tensor  # float64
    real_cov_FF: Tensor  # float64
    real_sharpness: float

    @torch.no_grad()
    def look(self, images_B1HW: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
        """Features (B, F) and class probabilities (B, K), both float32, of images clamped to [-1, 1]."""
        looks = [self.classifier(part.float().clamp(-1, 1)) for part in images_B1HW.split(chunk)]
        features_BF = torch.cat([features for features, _ in looks])
        return features_BF, torch.cat([logits for _, logits in looks]).softmax(-1)


@cache
def load_judge() -> Judge:
    """Loads the judge that ships with the package, on the CPU; the same for every trial."""
    tensors = load_file(SHIPPED)
    classifier = Classifier()
    prefix = "classifier."
    weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    classifier.load_state_dict(weights)
    classifier.eval().requires_grad_(False)
    return Judge(classifier, tensors["real_mean"], tensors["real_cov"], tensors["real_sharpness"].item())


def fingerprint() -> str:
    """SHA-256 of the shipped judge file."""
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
