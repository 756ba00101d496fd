"""The operations in plain PyTorch: any device and floating dtype, differentiable by autograd to any order.

Slow, and the definition the kernels are tested against (in float64).

Shapes: B batch, L tokens, D channels, N states, K taps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _working_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None,
    z_BLD: Tensor | None,
    dt_bias_D: Tensor | None,
    initial_BDN: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """y in u's dtype, and the final state. The state is a running tensor, with one exp per token."""
    dtype = _working_dtype(u_BLD)
    with torch.autocast(u_BLD.device.type, enabled=False):
        u, dt, B, C, A = (x.to(dtype) for x in (u_BLD, dt_BLD, B_BLN, C_BLN, A_DN))
        if dt_bias_D is not None:
            dt = dt + dt_bias_D.to(dtype)
        if dt_softplus:
            dt = F.softplus(dt, threshold=40.0)
        dtu = dt * u
        if initial_BDN is None:
            h_BDN = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
        else:
            h_BDN = initial_BDN.to(dtype)
        L = u.shape[1]
        steps = list(zip(dt.unbind(1), dtu.unbind(1), B.unbind(1), C.unbind(1), strict=True))
        ys = [u] * L
        for t in range(L - 1, -1, -1) if reverse else range(L):
            dt_BD, dtu_BD, B_BN, C_BN = steps[t]
            h_BDN = torch.exp(dt_BD.unsqueeze(-1) * A) * h_BDN + dtu_BD.unsqueeze(-1) * B_BN.unsqueeze(1)
            ys[t] = (h_BDN @ C_BN.unsqueeze(-1)).squeeze(-1)
        y = torch.stack(ys, 1)
        if D_D is not None:
            y = y + u * D_D.to(dtype)
        if z_BLD is not None:
            y = y * F.silu(z_BLD.to(dtype))
    return y.to(u_BLD.dtype), h_BDN


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor | None, silu: bool, reverse: bool) -> Tensor:
    dtype = _working_dtype(x_BLD)
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
