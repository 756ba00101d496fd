"""The quality of a set of images: recognised share, class coverage, Frechet distance, sharpness; and more for colour.

All are figures of a *set*; the Frechet distance depends on its size, so compare equal sizes only.

Shapes: B images, F features, N training images.
"""

import torch
from torch import Tensor

from bakeoff.metrics.frechet import frechet_distance, moments
from bakeoff.metrics.images import neighbours
from bakeoff.metrics.images.judge import Judge
from bakeoff.metrics.images.reference import Reference
from bakeoff.metrics.images.sharpness import sharpness
from bakeoff.protocol.measurement import Quality, with_figures

COVERED_SHARE = 0.01


def assess(judge: Judge, real: Reference, images_BCHW: Tensor) -> Quality:
    """Judges a set of at least two images in [-1, 1]; values outside are clamped.

    recognised: share of images that are more likely of some class than of none, and of one with probability above 0.9.
    classes: number of classes that make up at least 1 % of all images; only recognised images count.
    frechet: Frechet distance to the real training images in the classifier's 64 features.
    sharpness: mean gradient magnitude divided by that of real images; it is reported and decides nothing.
    class_shares: for each class, the share of images recognised as it.
    """
    return _assessed(judge, real, images_BCHW, *judge.look(images_BCHW))


def assess_asked(judge: Judge, real: Reference, images_BCHW: Tensor, asked_B: Tensor | None) -> Quality:
    """The same, and what else tells good sets from bad ones:

    asked_for: share of images recognised as the class that was asked for, where one was.
    precision, recall: of the k-nearest-neighbour balls [Kynkaanniemi et al. 2019], against as many real ones.
    authentic: share that is no nearer to its training image than that one is to the next [Alaa et al. 2022].
    copying: z-score of being nearer to training images than unseen real images are [Meehan et al. 2020, one cell];
        below that of real sets of the same number, a set of copies.

    Args:
        real: with the features of training and of unseen images.
        asked_B: classes.
    """
    features_BF, probabilities_BK = judge.look(images_BCHW)
    quality = _assessed(judge, real, images_BCHW, features_BF, probabilities_BK)
    assert real.train_NF is not None and real.unseen_RF is not None
    precision, recall = neighbours.precision_recall(features_BF, real.unseen_RF)
    distance_B, nearest_B = neighbours.nearest(features_BF, real.train_NF)
    figures = {
        "precision": precision,
        "recall": recall,
        "authentic": neighbours.authentic(distance_B, nearest_B, real.train_NF),
        "copying": neighbours.copying(distance_B, real.unseen_R),
    }
    if asked_B is not None:
        recognised_B, class_B = judge.recognise(probabilities_BK)
        figures["asked_for"] = (recognised_B & (class_B == asked_B)).double().mean().item()
    return with_figures(quality, figures)


def _assessed(
    judge: Judge, real: Reference, images_BCHW: Tensor, features_BF: Tensor, probabilities_BK: Tensor
) -> Quality:
    recognised_B, class_B = judge.recognise(probabilities_BK)
    count = len(images_BCHW)
    shares = torch.bincount(class_B[recognised_B], minlength=judge.classes).double() / count
    return Quality(
        samples=count,
        figures={
            "recognised": recognised_B.double().mean().item(),
            "classes": float((shares >= COVERED_SHARE).sum()),
            "frechet": frechet_distance(*moments(features_BF), real.mean_F, real.cov_FF),
            "sharpness": sharpness(images_BCHW) / real.sharpness,
        },
        detail={"class_shares": shares.tolist()},
    )
