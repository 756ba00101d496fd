"""The quality of a set of images: recognised share, class coverage, Frechet distance, sharpness.

All four are figures of a *set*; the Frechet distance depends on its size, so compare equal sizes only.
"""

import torch
from torch import Tensor

from bakeoff.metrics.digits.classifier import NOT_A_DIGIT, Judge
from bakeoff.metrics.frechet import frechet_distance, moments
from bakeoff.protocol.measurement import Quality

CONFIDENT = 0.9
COVERED_SHARE = 0.01


def assess(judge: Judge, images_B1HW: Tensor) -> Quality:
    """Judges a set of at least two images, (B, 1, 28, 28) in [-1, 1]; values outside are clamped.

    recognised: share of images that are more likely a digit than not, and one digit with probability above 0.9.
    classes: number of digits that make up at least 1 % of all images; only recognised images count.
    frechet: Frechet distance to the 60 000 real training digits in the classifier's 64 features.
    sharpness: mean gradient magnitude divided by that of real digits; it is reported and decides nothing.
    class_shares: for each digit, the share of images recognised as it.
    """
    features_BF, probabilities_BK = judge.look(images_B1HW)
    recognised_B, digit_B = recognise(probabilities_BK)
    count = len(images_B1HW)
    shares = torch.bincount(digit_B[recognised_B], minlength=NOT_A_DIGIT).double() / count
    return Quality(
        samples=count,
        figures={
            "recognised": recognised_B.double().mean().item(),
            "classes": float((shares >= COVERED_SHARE).sum()),
            "frechet": frechet_distance(*moments(features_BF), judge.real_mean_F, judge.real_cov_FF),
            "sharpness": sharpness(images_B1HW) / judge.real_sharpness,
        },
        detail={"class_shares": shares.tolist()},
    )


def recognise(probabilities_BK: Tensor) -> tuple[Tensor, Tensor]:
    """From class probabilities (B, K): which images are recognised (B, bool), and as which digit (B)."""
    is_digit_B = 1 - probabilities_BK[:, NOT_A_DIGIT]
    confidence_B, digit_B = probabilities_BK[:, :NOT_A_DIGIT].max(-1)
    return (is_digit_B > 0.5) & (confidence_B > CONFIDENT * is_digit_B), digit_B


def sharpness(images_B1HW: Tensor) -> float:
    """Mean length of the forward-difference gradient of images clamped to [-1, 1]."""
    x = images_B1HW.double().clamp(-1, 1)
    dy, dx = x[..., 1:, :-1] - x[..., :-1, :-1], x[..., :-1, 1:] - x[..., :-1, :-1]
    return (dx.square() + dy.square()).sqrt().mean().item()
