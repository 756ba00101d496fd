"""A judge of images: a frozen classifier with one class more than there are.

The last class is "none of them": a plain classifier calls noise and blank images an image of some class with confidence
above 0.9. It is trained on noise, blanks, blends, shuffles and half-denoised images
(`bakeoff.metrics.images.corruptions`). Those that ship are frozen; `scripts/train_judge.py` made them.

Shapes: B images, F = 64 features, K = classes + 1.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.metrics.images.classifiers import Classifier, colour32, grey28

WEIGHTS = Path(__file__).parent / "weights"
NETWORKS: dict[str, Callable[[int], Classifier]] = {  # by judge
    "digits": grey28,
    "emoji": colour32,
    "fashion": grey28,
    "cifar10": colour32,
}
PREFIX = "classifier."
CONFIDENT = 0.9


@dataclass(frozen=True)
class Judge:
    """A frozen classifier."""

    classifier: Classifier

    @property
    def classes(self) -> int:
        """Without "none of them"."""
        return self.classifier.classify.out_features - 1

    @torch.no_grad()
    def look(self, images_BCHW: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
        """Features (B, F) and class probabilities (B, K), both float32, of images clamped to [-1, 1]."""
        looks = [self.classifier(part.float().clamp(-1, 1)) for part in images_BCHW.split(chunk)]
        features_BF = torch.cat([features for features, _ in looks])
        return features_BF, torch.cat([logits for _, logits in looks]).softmax(-1)

    def recognise(self, probabilities_BK: Tensor) -> tuple[Tensor, Tensor]:
        """From class probabilities: which images are recognised (B, bool), and as which class (B)."""
        of_some_B = 1 - probabilities_BK[:, -1]
        confidence_B, class_B = probabilities_BK[:, :-1].max(-1)
        return (of_some_B > 0.5) & (confidence_B > CONFIDENT * of_some_B), class_B


@cache
def load_judge(name: str) -> Judge:
    """A judge that ships with the package, on the CPU; the same for every trial."""
    return read_judge(shipped(name), NETWORKS[name])


def read_judge(path: Path, network: Callable[[int], Classifier]) -> Judge:
    """The judge of a file, frozen, on the CPU.

    Raises:
        BakeoffError: it is no judge of this network.
    """
    try:
        tensors = load_file(path)
        weights = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
        classifier = network(len(weights["classify.bias"]) - 1)
        classifier.load_state_dict(weights)
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise BakeoffError(f"{path}: not a judge's weights ({str(error)[:120]}).") from error
    classifier.eval().requires_grad_(False)
    return Judge(classifier)


def save_judge(judge: Judge, path: Path, real: Mapping[str, Tensor] | None = None) -> None:
    """Writes a judge's file; `real` is what else is kept in it."""
    tensors = {f"{PREFIX}{name}": t.contiguous() for name, t in judge.classifier.state_dict().items()}
    save_file(tensors | dict(real or {}), path)


def shipped(name: str) -> Path:
    return WEIGHTS / f"{name}.safetensors"


def fingerprint(path: Path) -> str:
    """SHA-256 of a judge's file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
