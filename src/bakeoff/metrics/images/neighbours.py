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


def authentic(made_BF: Tensor, train_NF: Tensor) -> float:
    """Share of the made that are farther from their nearest training image than that is from its own nearest."""
    distance_B, nearest_B = nearest(made_BF, train_NF)
    hit, of_hit_B = nearest_B.unique(return_inverse=True)
    own = _second(train_NF[hit], train_NF)[of_hit_B]
    return (distance_B > own).double().mean().item()


def copying(made_BF: Tensor, unseen_RF: Tensor, train_NF: Tensor) -> float:
    """z of the Mann-Whitney U of both sets' distances to the training images; negative where the made are nearer."""
    made_B, unseen_R = nearest(made_BF, train_NF)[0], nearest(unseen_RF, train_NF)[0]
    m, n = len(made_B), len(unseen_R)
    larger = (made_B[:, None] > unseen_R).double().sum() + 0.5 * (made_B[:, None] == unseen_R).double().sum()
    return ((larger - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)).item()


def nearest(made_BF: Tensor, train_NF: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest training image (B,), and which it is (B,)."""
    parts = [torch.cdist(part.double(), train_NF.double()).min(1) for part in made_BF.split(256)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _second(some_BF: Tensor, train_NF: Tensor) -> Tensor:
    """Distance of training images to the nearest other one."""
    return torch.cat(
        [torch.cdist(part.double(), train_NF.double()).kthvalue(2, dim=1).values for part in some_BF.split(256)]
    )
