"""The memoriser's floor: the lowest flow-matching loss that any velocity can reach on a finite training set.

At x_t = (1 - t) x_0 + t x_1 the target x_1 - x_0 equals (x_1 - x_t) / (1 - t). So the best velocity is its mean under
the posterior of x_1, and the remaining loss is a variance:

    floor = E over t, x_t of  mean over channels of  w(t) Var(x_1 | x_t)

with w = 1 / (1 - t)^2, or as an objective weighs the error of the data.

On a finite set the posterior is a softmax over its N points of -|x_t - t x_j|^2 / (2 (1 - t)^2). With that w, t
uniform and u = t / (1 - t) the floor is the integral over all u > 0 of the least mean squared error of x_1 seen as
u x_1 + noise; hence floor(a x + b) = |a| floor(x), and it is finite: as t -> 1 the posterior of distinct points
collapses exponentially. For one normal channel of deviation s it would be s pi / 2; no data of that deviation exceeds
this.

Shapes: N points, C values of a point (all its tokens and channels), M draws.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.objectives.base import Floor
from bakeoff.objectives.times import TimeLaw

ROWS = 64  # draws computed at once: 64 x 60 000 float32 weights are 15 MB


@torch.no_grad()
def memoriser_floor(
    x_NC: Tensor,
    labels_N: Tensor | None = None,
    *,
    label_dropout: float = 0.0,
    law: TimeLaw | None = None,
    weight: Callable[[Tensor], Tensor] = lambda t: (1 - t).square().reciprocal(),
    draws: int = 512,
    seed: int = 0,
) -> Floor:
    """The minimum over all velocities of E w (1 - t)^2 |v - (x_1 - x_0)|^2, mean over channels, on the set x_NC.

    Every draw gives the exact posterior variance; only t, the point and the noise are random. t is stratified with
    two draws a stratum, and their differences give the standard error. Deterministic in `seed`.

    Args:
        x_NC: training points, float32 or float64, also the type of the computation; further axes are flattened.
        labels_N: integer labels if the model gets them; the posterior is then over the points of the same label.
        label_dropout: share of hidden labels; their posterior is over all points.
        law: how t is drawn, as in the objective; uniformly if none is given.
        weight: w, for float64 times of any shape.
        draws: an even number, at least 4.

    Raises:
        BakeoffError: no points, values that are not finite, labels that do not fit, or an odd number of draws.
    """
    x_NC = x_NC.flatten(1)
    _check(x_NC, labels_N, label_dropout, draws)
    x_NC = x_NC - x_NC.mean(0)  # the floor does not depend on the origin, but the rounding does
    g = Generator(x_NC.device).manual_seed(seed)
    t_M = _stratified_times(draws, law or TimeLaw(), g)
    points_M = torch.randint(len(x_NC), (draws,), generator=g, device=x_NC.device)
    variance_M = torch.cat([_left(x_NC, labels_N, label_dropout, *rows, g) for rows in _rows(t_M, points_M)])
    left_M = weight(t_M) * variance_M
    pairs = left_M.view(-1, 2)
    stderr = (pairs[:, 0] - pairs[:, 1]).square().sum().sqrt() / draws
    return Floor(left_M.mean().item(), stderr.item(), draws)


def _left(x_NC: Tensor, labels_N: Tensor | None, dropout: float, t_M: Tensor, points_M: Tensor, g: Generator) -> Tensor:
    """(M,) float64: the remaining variance of the data at one x_t a draw."""
    t_M1 = t_M[:, None].to(x_NC.dtype)
    noise_MC = torch.randn(len(t_M), x_NC.shape[1], generator=g, device=x_NC.device, dtype=x_NC.dtype)
    x_t_MC = (1 - t_M1) * noise_MC + t_M1 * x_NC[points_M]
    snr_M1 = (t_M[:, None] / (1 - t_M[:, None])).to(x_NC.dtype)
    squares_N = x_NC.square().sum(1)
    logits_MN = snr_M1 / (1 - t_M1) * (x_t_MC @ x_NC.T) - snr_M1.square() / 2 * squares_N
    if labels_N is None:
        return _variance(logits_MN, x_NC, squares_N, t_M, points_M)
    left_M = dropout * _variance(logits_MN, x_NC, squares_N, t_M, points_M) if dropout else 0.0
    others_MN = labels_N[points_M][:, None] != labels_N
    told_M = _variance(logits_MN.masked_fill_(others_MN, -torch.inf), x_NC, squares_N, t_M, points_M)
    return (1 - dropout) * told_M + left_M


def _variance(logits_MN: Tensor, x_NC: Tensor, squares_N: Tensor, t_M: Tensor, points_M: Tensor) -> Tensor:
    """(M,) float64: mean over channels of Var(x_1 | x_t), as E x^2 - (E x)^2.

    Late in time that is a small difference of large numbers, whose rounding of eps w makes eps / (1 - t)^2. Once this
    reaches sqrt(eps), the squared distance of the posterior mean to the drawn point, of equal expectation, is used.
    """
    weights_MN = logits_MN.softmax(1)
    mean_MC = weights_MN @ x_NC
    spread_M = weights_MN @ squares_N - mean_MC.square().sum(1)
    missed_M = (x_NC[points_M] - mean_MC).square().sum(1)
    late_M = 1 - t_M < torch.finfo(x_NC.dtype).eps ** 0.25
    variance_M = torch.where(late_M, missed_M, spread_M.clamp_min(0)).double()
    return variance_M / x_NC.shape[1]


def _stratified_times(draws: int, law: TimeLaw, g: Generator) -> Tensor:
    """(draws,) float64 in (0, 1): neighbours 2k and 2k + 1 are drawn from the same stratum k."""
    strata_M = torch.arange(draws // 2, device=g.device, dtype=torch.float64).repeat_interleave(2)
    inside_M = torch.rand(draws, generator=g, device=g.device, dtype=torch.float64)
    u_M = (strata_M + inside_M) / (draws // 2)
    return law.quantile(u_M).clamp(1e-6, 1 - 1e-6)


def _rows(t_M: Tensor, points_M: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(t_M.split(ROWS), points_M.split(ROWS), strict=True)


def _check(x_NC: Tensor, labels_N: Tensor | None, label_dropout: float, draws: int) -> None:
    if not x_NC.numel() or not x_NC.is_floating_point() or not x_NC.isfinite().all():
        raise BakeoffError(f"training points {tuple(x_NC.shape)}: allowed are finite floats, at least one value.")
    if labels_N is not None and labels_N.shape != x_NC.shape[:1]:
        raise BakeoffError(f"labels {tuple(labels_N.shape)}: allowed is one for each of the {len(x_NC)} points.")
    if not 0 <= label_dropout <= (0 if labels_N is None else 1):
        raise BakeoffError(f"label_dropout = {label_dropout}: allowed is [0, 1], and 0 where there are no labels.")
    if draws < 4 or draws % 2:
        raise BakeoffError(f"draws = {draws}: allowed are even numbers from 4 on.")
