"""Flow matching [Lipman et al. 2023; Liu et al. 2023]: the linear path from noise (t = 0) to data (t = 1).

x_t = (1 - t) x_0 + t x_1 with x_0 ~ N(0, I). The model predicts the velocity v = x_1 - x_0, or what says the same; by
integrating dx/dt = v(x, t) from noise it makes items.

Shapes: B items, L tokens, C values a token.
"""

from torch import Generator, Tensor

from bakeoff.objectives.coupling import Coupling
from bakeoff.objectives.denoising import Denoising
from bakeoff.objectives.paths import Linear
from bakeoff.objectives.prediction import Prediction
from bakeoff.objectives.times import Kind, TimeLaw


class Flow(Denoising):
    """Flow matching.

    Args:
        times: how t is drawn in training.
        times_mean, times_std: of logit(t), where it is logit-normal.
        prediction, loss_space, condition_dropout, coupling: see `Denoising`. The squared error of the velocity is that
            of the data by 1 / (1 - t)^2; of a model that gives the data it is cut off where 1 - t is below 0.05.
    """

    def __init__(
        self,
        times: Kind = "uniform",
        condition_dropout: float = 0.0,
        *,
        times_mean: float = 0.0,
        times_std: float = 1.0,
        prediction: Prediction = "velocity",
        loss_space: Prediction = "velocity",
        coupling: Coupling = "independent",
    ) -> None:
        super().__init__(Linear(), prediction, loss_space, condition_dropout, coupling)
        self.law = TimeLaw(times, times_mean, times_std)

    def drawn_times(self, count: int, g: Generator) -> Tensor:
        return self.law.draw(count, g)

    def quantile(self, u: Tensor) -> Tensor:
        return self.law.quantile(u)
