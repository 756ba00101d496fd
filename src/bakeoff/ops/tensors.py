"""Tensors on their way to the kernels: brought into a form that they take, and described to C++ by addresses."""

from collections.abc import Callable

import torch
from torch import Tensor


def rows(x: Tensor) -> Tensor:
    """A (B, L, ...) tensor whose tokens are each contiguous: x itself where it is one."""
    size = 1
    for axis in range(x.dim() - 1, 1, -1):
        if x.shape[axis] != 1 and x.stride(axis) != size:
            return x.contiguous()
        size *= x.shape[axis]
    return x


def sequence(x: Tensor) -> Tensor:
    """A float32 or bfloat16 (B, L, ...) tensor whose tokens are each contiguous: x itself where it is one."""
    return rows(x if x.dtype in (torch.float32, torch.bfloat16) else x.float())


def parameter(x: Tensor) -> Tensor:
    """A contiguous float32 tensor: x itself where it is one."""
    return x.float().contiguous()


def optional(prepare: Callable[[Tensor], Tensor], x: Tensor | None) -> Tensor | None:
    return None if x is None else prepare(x)


def dense_like(x: Tensor) -> Tensor:
    """A contiguous tensor of x's shape, dtype and device, not initialised."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def dense_on_cpu(x: Tensor) -> Tensor:
    """A contiguous tensor of x's shape and dtype on the CPU, not initialised."""
    return torch.empty(x.shape, dtype=x.dtype)


def view(x: Tensor | None) -> tuple[int, int, int, bool] | None:
    """A (B, L, ...) tensor for C++: its address, the strides of a sample and of a token, whether it is bfloat16."""
    return None if x is None else (x.data_ptr(), x.stride(0), x.stride(1), x.dtype == torch.bfloat16)


def address(x: Tensor | None) -> int:
    """A contiguous float32 tensor for C++; 0 stands for an absent one."""
    return 0 if x is None else x.data_ptr()


def working_dtype(x: Tensor) -> torch.dtype:
    """What the plain PyTorch operations compute in: x's dtype, or float32 where that is narrower."""
    return torch.promote_types(x.dtype, torch.float32)
