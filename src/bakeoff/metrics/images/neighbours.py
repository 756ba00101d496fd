"""What the distances of a set's features to real ones tell: precision and recall, and whether it was copied.

All distances are Euclidean, in float64. Shapes: B generated, R real, N training; F features.
"""

import math

import torch
from torch import Tensor

NEIGHBOUR = 3  # that a ball reaches to [Kynkaanniemi et al. 2019]


def precision_recall(made_BF: Tensor, real_RF: Tensor) -> tuple[float, float]:
    """Share of the made inside some real one's ball, and of the real inside some made one's.

    A ball reaches to its centre's third neighbour in its own set. Both sets are cut to the size of the smaller one,
    because balls shrink as a set grows.
    """
    count = min(len(made_BF), len(real_RF))
    made_BF, real_RF = made_BF[:count].double(), real_RF[:count].double()
    if count <= NEIGHBOUR:
        return math.nan, math.nan
    between_BR = torch.cdist(made_BF, real_RF)
    in_real = (between_BR <= _radii(real_RF)).any(1).double().mean().item()
    radii_B = _radii(made_BF)
    in_made = (between_BR <= radii_B[:, None]).any(0).double().mean().item()
    return in_real, in_made


def _radii(features_BF: Tensor) -> Tensor:
    """Distance of each to its third neighbour in the set; the nearest is itself."""
    return torch.cdist(features_BF, features_BF).kthvalue(NEIGHBOUR + 1, dim=1).values


def authentic(distance_B: Tensor, nearest_B: Tensor, train_NF: Tensor) -> float:
    """Share of the made that are farther from their nearest training image than that is from its own nearest.

    Args:
        distance_B, nearest_B: of the made, as `nearest` gives them.
    """
    hit, of_hit_B = nearest_B.unique(return_inverse=True)
    own, _ = nearest(train_NF[hit], train_NF, but=hit)
    return (distance_B > own[of_hit_B]).double().mean().item()


def copying(made_B: Tensor, unseen_R: Tensor) -> float:
    """z of the Mann-Whitney U of two sets' distances to the training images; negative where the made are nearer."""
    m, n = len(made_B), len(unseen_R)
    larger = (made_B[:, None] > unseen_R).double().sum() + 0.5 * (made_B[:, None] == unseen_R).double().sum()
    return ((larger - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)).item()


def nearest(made_BF: Tensor, train_NF: Tensor, but: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Distance to the nearest training image (B,), and which it is (B,).

    Args:
        but: for each of the made, a training image that does not count: itself, where it is one.
    """
    made_BF, train_NF = made_BF.double(), train_NF.double()
    squares_N, found = train_NF.square().sum(1), []
    for rows in torch.arange(len(made_BF)).split(256):
        scores = torch.addmm(squares_N, made_BF[rows], train_NF.T, alpha=-2)  # squared distances, less |made|^2
        if but is not None:
            scores[torch.arange(len(rows)), but[rows]] = math.inf
        found.append(scores.argmin(1))
    nearest_B = torch.cat(found)
    return (made_BF - train_NF[nearest_B]).norm(dim=1), nearest_B
