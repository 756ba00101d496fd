"""The memoriser's floor: the lowest denoising loss that any network can reach on a finite training set.

At x_t = a x + s e of data x and noise e every prediction is linear in x, since x_t is known. So the best one is its
mean under the posterior of x, and the remaining loss is a variance:

    floor = E over t, x_t of  mean over channels of  w Var(x | x_t)

with w as an objective weighs the error of the data: 1 / s^2 for the velocity of the linear path, a = t and s = 1 - t.

On a finite set the posterior is a softmax over its N points of -|x_t - a x_j|^2 / (2 s^2). With the linear path, that
w, t uniform and u = t / (1 - t) the floor is the integral over all u > 0 of the least mean squared error of x seen as
u x + noise; hence floor(b x + c) = |b| floor(x), and it is finite: as t -> 1 the posterior of distinct points
collapses exponentially. For one normal channel of deviation d it would be d pi / 2; no data of that deviation exceeds
this.

Shapes: N points, C values of a point (all its tokens and channels), M draws.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.objectives.base import Floor

ROWS = 64  # draws computed at once: 64 x 60 000 float32 weights are 15 MB


@torch.no_grad()
def memoriser_floor(
    x_NC: Tensor,
    labels_N: Tensor | None = None,
    *,
    label_dropout: float = 0.0,
    quantile: Callable[[Tensor], Tensor] = lambda u: u,
    signal: Callable[[Tensor], tuple[Tensor, Tensor]] = lambda t: (t, 1 - t),
    weight: Callable[[Tensor, Tensor], Tensor] = lambda a, s: s.square().reciprocal(),
    draws: int = 512,
    seed: int = 0,
) -> Floor:
    """The minimum over all networks of E w |x^ - x|^2, mean over channels, on the set x_NC.

    Every draw gives the exact posterior variance; only t, the point and the noise are random. t is stratified with
    two draws a stratum, and their differences give the standard error. Deterministic in `seed`.

    Args:
        x_NC: training points, float32 or float64, also the type of the computation; further axes are flattened.
        labels_N: integer labels if the model gets them; the posterior is then over the points of the same label.
        label_dropout: share of hidden labels; their posterior is over all points.
        quantile: the time below which a share of all times is drawn, in the objective.
        signal: a and s, for times of any shape and type.
        weight: w of a and s, float64, of any shape.
        draws: an even number, at least 4.

    Raises:
        BakeoffError: no points, values that are not finite, labels that do not fit, or an odd number of draws.
    """
    x_NC = x_NC.flatten(1)
    _check(x_NC, labels_N, label_dropout, draws)
    x_NC = x_NC - x_NC.mean(0)  # the floor does not depend on the origin, but the rounding does
    g = Generator(x_NC.device).manual_seed(seed)
    t_M = _stratified_times(draws, quantile, g)
    points_M = torch.randint(len(x_NC), (draws,), generator=g, device=x_NC.device)
    variance_M = torch.cat([_left(x_NC, labels_N, label_dropout, signal, *rows, g) for rows in _rows(t_M, points_M)])
    left_M = weight(*signal(t_M)) * variance_M
    pairs = left_M.view(-1, 2)
    stderr = (pairs[:, 0] - pairs[:, 1]).square().sum().sqrt() / draws
    return Floor(left_M.mean().item(), stderr.item(), draws)


def _left(
    x_NC: Tensor,
    labels_N: Tensor | None,
    dropout: float,
    signal: Callable[[Tensor], tuple[Tensor, Tensor]],
    t_M: Tensor,
    points_M: Tensor,
    g: Generator,
) -> Tensor:
    """(M,) float64: the remaining variance of the data at one x_t a draw."""
    a_M1, s_M1 = signal(t_M[:, None].to(x_NC.dtype))
    noise_MC = torch.randn(len(t_M), x_NC.shape[1], generator=g, device=x_NC.device, dtype=x_NC.dtype)
    x_t_MC = s_M1 * noise_MC + a_M1 * x_NC[points_M]
    exact_a_M1, exact_s_M1 = signal(t_M[:, None])
    snr_M1 = (exact_a_M1 / exact_s_M1).to(x_NC.dtype)
    squares_N = x_NC.square().sum(1)
    logits_MN = snr_M1 / s_M1 * (x_t_MC @ x_NC.T) - snr_M1.square() / 2 * squares_N
    s_M = exact_s_M1[:, 0]
    if labels_N is None:
        return _variance(logits_MN, x_NC, squares_N, s_M, points_M)
    left_M = dropout * _variance(logits_MN, x_NC, squares_N, s_M, points_M) if dropout else 0.0
    others_MN = labels_N[points_M][:, None] != labels_N
    told_M = _variance(logits_MN.masked_fill_(others_MN, -torch.inf), x_NC, squares_N, s_M, points_M)
    return (1 - dropout) * told_M + left_M


def _variance(logits_MN: Tensor, x_NC: Tensor, squares_N: Tensor, s_M: Tensor, points_M: Tensor) -> Tensor:
    """(M,) float64: mean over channels of Var(x | x_t), as E x^2 - (E x)^2.

    Late in time that is a small difference of large numbers, whose rounding of eps w makes eps / s^2. Once this
    reaches sqrt(eps), the squared distance of the posterior mean to the drawn point, of equal expectation, is used.
    """
    weights_MN = logits_MN.softmax(1)
    mean_MC = weights_MN @ x_NC
    spread_M = weights_MN @ squares_N - mean_MC.square().sum(1)
    missed_M = (x_NC[points_M] - mean_MC).square().sum(1)
    late_M = s_M < torch.finfo(x_NC.dtype).eps ** 0.25
    variance_M = torch.where(late_M, missed_M, spread_M.clamp_min(0)).double()
    return variance_M / x_NC.shape[1]


def _stratified_times(draws: int, quantile: Callable[[Tensor], Tensor], g: Generator) -> Tensor:
    """(draws,) float64 in (0, 1): neighbours 2k and 2k + 1 are drawn from the same stratum k."""
    strata_M = torch.arange(draws // 2, device=g.device, dtype=torch.float64).repeat_interleave(2)
    inside_M = torch.rand(draws, generator=g, device=g.device, dtype=torch.float64)
    u_M = (strata_M + inside_M) / (draws // 2)
    return quantile(u_M).clamp(1e-6, 1 - 1e-6)


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
