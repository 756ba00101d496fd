"""Checks of arguments, shared by the operations: every error names the argument, what was given and what is allowed."""

from collections.abc import Mapping

import torch
from torch import Tensor

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_tensor(name: str, x: object, like: Tensor, axes: str, sizes: Mapping[str, int]) -> None:
    """Raises TypeError or ValueError unless x is a floating tensor on like's device with the given axes.

    Args:
        axes: one letter per axis, as in the argument's suffix: "BLD".
        sizes: the size of each letter.
    """
    check_floating(name, x)
    assert isinstance(x, Tensor)
    wanted = tuple(sizes[axis] for axis in axes)
    if tuple(x.shape) != wanted:
        legend = ", ".join(axes)
        raise ValueError(f"{name} has shape {tuple(x.shape)}; it must be ({legend}) = {wanted}")
    if x.device != like.device:
        raise ValueError(f"{name} is on {x.device}; it must be on {like.device}, like the first argument")


def check_floating(name: str, x: object, dims: int | None = None) -> None:
    """Raises TypeError or ValueError unless x is a dense floating tensor, with `dims` axes if given."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is of type {type(x).__name__}; it must be a torch.Tensor")
    if x.dtype not in FLOATS:
        allowed = ", ".join(str(dtype) for dtype in FLOATS)
        raise TypeError(f"{name} has dtype {x.dtype}; it can be {allowed}")
    if x.layout != torch.strided:
        raise TypeError(f"{name} has layout {x.layout}; it must be dense (torch.strided)")
    if dims is not None and x.dim() != dims:
        raise ValueError(f"{name} has {x.dim()} axes, shape {tuple(x.shape)}; it must have {dims}")


def check_flag(name: str, x: object) -> None:
    if not isinstance(x, bool):
        raise TypeError(f"{name} is {x!r}; it must be True or False")


def check_positive(sizes: Mapping[str, int], owner: Mapping[str, str]) -> None:
    """Raises ValueError for an empty axis; `owner` tells which argument an axis was read from."""
    for axis, argument in owner.items():
        if sizes[axis] < 1:
            raise ValueError(f"{argument} has {axis} = {sizes[axis]}; it must be at least 1")
