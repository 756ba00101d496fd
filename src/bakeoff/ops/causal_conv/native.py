"""Calls of the convolution's C++ kernels on tensors, without autograd: allocate the results, pass addresses.

Shapes: B batch, L tokens, D channels, K taps.
"""

import torch
from torch import Tensor

from bakeoff.ops.dispatch import NATIVE
from bakeoff.ops.tensors import address, dense_on_cpu, sequence, view


def _arguments(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> tuple:
    shape = (*x_BLD.shape, weight_DK.shape[1])
    threads = torch.get_num_threads()
    return shape, view(x_BLD), address(weight_DK), address(bias_D), silu, reverse, threads


def forward(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """y_BLD."""
    assert NATIVE is not None
    y_BLD = dense_on_cpu(x_BLD)
    NATIVE.conv_forward(_arguments(x_BLD, weight_DK, bias_D, silu, reverse), view(y_BLD))
    return y_BLD


def backward(
    x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool, dy_BLD: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of x, weight and bias."""
    assert NATIVE is not None
    dy_BLD = sequence(dy_BLD)
    dx_BLD, dweight_DK = dense_on_cpu(x_BLD), dense_on_cpu(weight_DK)
    dbias_D = None if bias_D is None else dense_on_cpu(bias_D)
    NATIVE.conv_backward(
        _arguments(x_BLD, weight_DK, bias_D, silu, reverse),
        view(dy_BLD),
        view(dx_BLD),
        dweight_DK.data_ptr(),
        address(dbias_D),
    )
    return dx_BLD, dweight_DK, dbias_D
