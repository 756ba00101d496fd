"""The sharpness of images: how steep their levels are."""

from torch import Tensor


def sharpness(images_BCHW: Tensor) -> float:
    """Mean length of the forward-difference gradient of images clamped to [-1, 1]."""
    x = images_BCHW.double().clamp(-1, 1)
    dy, dx = x[..., 1:, :-1] - x[..., :-1, :-1], x[..., :-1, 1:] - x[..., :-1, :-1]
    return (dx.square() + dy.square()).sqrt().mean().item()
