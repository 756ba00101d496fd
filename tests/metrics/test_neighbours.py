"""Precision, recall, authenticity and copying, against definitions written out and against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Generator, Tensor

from bakeoff.metrics.images import neighbours

FEATURES = 5


def authentic(made: Tensor, train: Tensor) -> float:
    return neighbours.authentic(*neighbours.nearest(made, train), train)


def copying(made: Tensor, unseen: Tensor, train: Tensor) -> float:
    return neighbours.copying(neighbours.nearest(made, train)[0], neighbours.nearest(unseen, train)[0])


def points(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, FEATURES, generator=Generator().manual_seed(seed)) + shift


def inside(made: np.ndarray, real: np.ndarray) -> float:
    """Share of the made inside a ball around some real one that reaches to its third neighbour, one by one."""
    radii = [sorted(np.linalg.norm(real - one, axis=1))[3] for one in real]
    return float(np.mean([any(np.linalg.norm(one - r) <= d for r, d in zip(real, radii, strict=True)) for one in made]))


@pytest.mark.parametrize("count", [4, 5, 40])
def test_precision_and_recall_are_shares_of_balls(count: int) -> None:
    made, real = points(count, 0, 0.7), points(count + 3, 1)
    precision, recall = neighbours.precision_recall(made, real)
    a, b = made.double().numpy(), real[:count].double().numpy()
    assert (precision, recall) == (pytest.approx(inside(a, b)), pytest.approx(inside(b, a)))


def test_they_are_not_known_of_a_handful() -> None:
    assert all(math.isnan(one) for one in neighbours.precision_recall(points(3, 0), points(9, 1)))


def test_a_set_is_inside_itself_and_outside_one_far_away() -> None:
    same, far = points(50, 0), points(50, 1, 100.0)
    assert neighbours.precision_recall(same, same) == (1.0, 1.0)
    assert neighbours.precision_recall(same, far) == (0.0, 0.0)


def test_one_mode_is_precise_and_recalls_little() -> None:
    real = torch.cat([points(100, 0), points(100, 1, 20.0)])[torch.randperm(200, generator=Generator().manual_seed(2))]
    precision, recall = neighbours.precision_recall(points(200, 3), real)
    assert precision > 0.8 and recall < 0.6


def test_copies_are_not_authentic() -> None:
    train = points(300, 0)
    assert authentic(train[:50] + 1e-4, train) == 0.0
    assert authentic(points(50, 1, 30.0), train) == 1.0
    new = authentic(points(200, 2), train)
    distances = torch.cdist(points(200, 2).double(), train.double())
    own = torch.cdist(train.double(), train.double()).fill_diagonal_(math.inf).min(1).values
    assert new == (distances.min(1).values > own[distances.argmin(1)]).double().mean().item()


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_copying_is_the_z_of_mann_whitney(shift: float) -> None:
    made, unseen, train = points(60, 0, shift), points(90, 1), points(300, 2)
    z = copying(made, unseen, train)
    distances = [torch.cdist(one.double(), train.double()).min(1).values.numpy() for one in (made, unseen)]
    u, p = mannwhitneyu(*distances, use_continuity=False, method="asymptotic", alternative="less")
    assert z == pytest.approx((u - 2700) / math.sqrt(60 * 90 * 151 / 12))
    assert p == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), rel=1e-6)


def test_a_set_of_copies_is_far_below_minus_three() -> None:
    train = points(300, 0)
    assert copying(train[:100] + 1e-3, points(100, 1), train) < -10
