"""Depthwise causal convolution and SiLU in (B, L, D) layout, plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor, *, reverse: bool = False) -> Tensor:
    """silu(bias + sum_k weight[:, k] x[t - (K-1) + k]); `reverse` looks at later tokens instead."""
    taps = weight_DK.shape[1]
    x_BDL = x_BLD.transpose(1, 2)
    x_BDL = F.pad(x_BDL, (0, taps - 1) if reverse else (taps - 1, 0))
    kernel = weight_DK.flip(1) if reverse else weight_DK
    return F.silu(F.conv1d(x_BDL, kernel.unsqueeze(1), bias_D, groups=len(weight_DK)).transpose(1, 2))
