"""Which noise goes with which item of a batch: as drawn, or so that they lie near each other.

Minibatch optimal transport [Pooladian et al. 2023; Tong et al. 2024] permutes the noise of a batch to the least sum of
squared distances. It does so within equal labels only: across them the noise would tell the label.
"""

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Coupling = Literal["independent", "ot"]


def coupled(noise_BLC: Tensor, data_BLC: Tensor, labels_B: Tensor | None) -> Tensor:
    """The same noises in the order that brings each to an item near it, among those of its label."""
    data_BC, noise_BC = data_BLC.detach().cpu().flatten(1), noise_BLC.flatten(1)
    labels_B = torch.zeros(len(noise_BC), dtype=torch.long) if labels_B is None else labels_B.cpu()
    order_B = torch.arange(len(noise_BC))
    for label in labels_B.unique():
        (rows,) = torch.where(labels_B == label)
        cost = torch.cdist(data_BC[rows].double(), noise_BC[rows].double()).square()
        _, columns = linear_sum_assignment(cost.numpy())
        order_B[rows] = rows[torch.from_numpy(columns)]
    return noise_BLC[order_B]
