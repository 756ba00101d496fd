"""Mamba-1's selective scan, plain PyTorch: a loop over tokens with the state kept as a running tensor.

Shapes: B batch, L tokens, D channels, N states.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None = None,
    dt_bias_D: Tensor | None = None,
    *,
    z_BLD: Tensor | None = None,
    reverse: bool = False,
) -> Tensor:
    """h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t;  y_t = (<C_t, h_t> + D u_t) silu(z_t), dt = softplus(dt + bias).

    State, A and dt are float32 (float64 for float64 input) whatever the activations are; y has u's dtype.
    Differentiable in every tensor. Source: Gu and Dao 2023, algorithm 2.
    """
    dtype = torch.promote_types(u_BLD.dtype, torch.float32)
    with torch.autocast(u_BLD.device.type, enabled=False):
        u, dt, B, C = (x.to(dtype) for x in (u_BLD, dt_BLD, B_BLN, C_BLN))
        dt = F.softplus(dt if dt_bias_D is None else dt + dt_bias_D)
        dtu = dt * u
        h_BDN = u.new_zeros(u.shape[0], u.shape[2], A_DN.shape[1])
        order = range(u.shape[1] - 1, -1, -1) if reverse else range(u.shape[1])
        dts, dtus, Bs, Cs = dt.unbind(1), dtu.unbind(1), B.unbind(1), C.unbind(1)
        ys: list[Tensor] = [u] * u.shape[1]
        for t in order:
            h_BDN = torch.exp(dts[t].unsqueeze(-1) * A_DN) * h_BDN + dtus[t].unsqueeze(-1) * Bs[t].unsqueeze(1)
            ys[t] = (h_BDN @ Cs[t].unsqueeze(-1)).squeeze(-1)
        y = torch.stack(ys, 1)
        y = y if D_D is None else y + u * D_D
        y = y if z_BLD is None else y * F.silu(z_BLD.to(dtype))
    return y.to(u_BLD.dtype)
