"""The convolution in plain PyTorch: any device and floating dtype, differentiable by autograd to any order.

It is slow, and it is the definition that the kernels are tested against (in float64).

Shapes: B batch, L tokens, D channels, K taps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.ops.tensors import working_dtype


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    """y in x's dtype."""
    dtype = working_dtype(x_BLD)
    with torch.autocast(x_BLD.device.type, enabled=False):
        x, weight = x_BLD.to(dtype), weight_DK.to(dtype)
        L, K = x.shape[1], weight.shape[1]
        x = F.pad(x, (0, 0, 0, K - 1) if reverse else (0, 0, K - 1, 0))
        y_BLD = x.new_zeros(x_BLD.shape) if bias_D is None else bias_D.to(dtype).expand(x_BLD.shape)
        for k in range(K):  # as a sum of shifted sequences: conv1d is many times slower on the CPU in float64
            start = K - 1 - k if reverse else k
            y_BLD = y_BLD + x[:, start : start + L] * weight[:, k]
        y_BLD = F.silu(y_BLD) if silu else y_BLD
    return y_BLD.to(x_BLD.dtype)
