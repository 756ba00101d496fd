"""The scan in plain PyTorch: any device and floating dtype, differentiable by autograd to any order.

It is slow, and it is the definition that the kernels are tested against (in float64).

Shapes: B batch, L tokens, D channels, N states.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.ops.tensors import working_dtype


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
    dtype = working_dtype(u_BLD)
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
