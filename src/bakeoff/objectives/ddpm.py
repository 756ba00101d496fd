"""Denoising diffusion [Ho et al. 2020]: the variance-preserving path in 1000 steps, k uniform in training.

x_k = a_k x + s_k e. The model predicts the noise e, or what says the same; an item is made by going back from k = 999.

Shapes: B items.
"""

import torch
from torch import Generator, Tensor

from bakeoff.objectives.coupling import Coupling
from bakeoff.objectives.denoising import Denoising
from bakeoff.objectives.paths import TRAINED, Betas, Discrete
from bakeoff.objectives.prediction import Prediction


class Ddpm(Denoising):
    """Denoising diffusion.

    Args:
        betas: the noise that every step adds.
        prediction, loss_space, condition_dropout, coupling: see `Denoising`. With "epsilon" for both, the loss is Ho et
            al.'s "simple" one.
    """

    path: Discrete

    def __init__(
        self,
        betas: Betas = "linear",
        condition_dropout: float = 0.0,
        *,
        prediction: Prediction = "epsilon",
        loss_space: Prediction = "epsilon",
        coupling: Coupling = "independent",
    ) -> None:
        super().__init__(Discrete(betas), prediction, loss_space, condition_dropout, coupling)

    def drawn_times(self, count: int, g: Generator) -> Tensor:
        return self.path.times(torch.randint(TRAINED, (count,), generator=g))

    def quantile(self, u: Tensor) -> Tensor:
        k = ((1 - u) * TRAINED).floor().clamp(0, TRAINED - 1)
        return 1 - k / TRAINED
