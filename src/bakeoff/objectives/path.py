"""The linear path of flow matching [Lipman et al. 2023; Liu et al. 2023]: noise at t = 0, data at t = 1."""

from torch import Tensor


def interpolate(noise_BLC: Tensor, data_BLC: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1, one t per sample."""
    t_B11 = t_B[:, None, None]
    return (1 - t_B11) * noise_BLC + t_B11 * data_BLC


def target_velocity(noise_BLC: Tensor, data_BLC: Tensor) -> Tensor:
    """v = x_1 - x_0, the same at every t."""
    return data_BLC - noise_BLC
