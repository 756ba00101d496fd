"""The Frechet distance between two sets of features, each modelled as a Gaussian."""

import torch
from torch import Tensor


def moments(features_BF: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F) and unbiased covariance (F, F), float64, of at least two rows."""
    features_BF = features_BF.double()
    return features_BF.mean(0), torch.cov(features_BF.T)


def frechet_distance(mean_F: Tensor, cov_FF: Tensor, other_mean_F: Tensor, other_cov_FF: Tensor) -> float:
    """Squared 2-Wasserstein distance between two Gaussians (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2): the symmetric form needs only eigenvalues of
    positive semi-definite matrices, so singular covariances (fewer samples than features) are exact too.
    """
    root_FF = _psd_root(cov_FF)
    cross = torch.linalg.eigvalsh(root_FF @ other_cov_FF @ root_FF).clamp(min=0).sqrt().sum()
    gap = (mean_F - other_mean_F).square().sum()
    return max(0.0, (gap + cov_FF.trace() + other_cov_FF.trace() - 2 * cross).item())


def _psd_root(matrix_FF: Tensor) -> Tensor:
    values_F, vectors_FF = torch.linalg.eigh(matrix_FF)
    return (vectors_FF * values_F.clamp(min=0).sqrt()) @ vectors_FF.T
