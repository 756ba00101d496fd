"""What the operations share in registering operators with torch.library.

Operators cannot return None: a tensor of no elements stands for an absent one. Backward is an operator of its own,
because torch cannot trace a registered backward that calls kernels itself.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bakeoff.ops.autograd import NO_SECOND_DERIVATIVES

DEVICES = ("cpu", "cuda")


def or_empty(x: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if x is None else x


def or_none(x: Tensor) -> Tensor | None:
    return x if x.numel() else None


def no_second_derivatives(name: str) -> Callable[..., Any]:
    """The registered backward of an operator that is itself the backward of operation `name`."""

    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(NO_SECOND_DERIVATIVES.format(name))

    return backward
