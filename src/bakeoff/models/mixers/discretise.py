"""How Mamba's continuous system becomes a recurrence, h_t = decay_t h_{t-1} + weight_t B_t u_t; y_t = C_t h_t + D u_t.

With s the raw step of a channel, dt = softplus(s) and g = sigmoid(s):

- exponential: decay exp(dt A), weight dt. Mamba's own: A by zero-order hold, B by Euler [Gu and Dao 2023].
- euler: decay 1 + dt A, weight dt. Forward Euler for both; unstable where dt |A| > 2.
- none: decay 1 - g, weight g. No system and no A: a gate, as in theorem 1 of the same paper; it is what zero-order hold
  of both makes of A = -1.

Shapes: B batch, L tokens, E channels, N states.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.ops import selective_scan

Rule = Literal["exponential", "euler", "none"]
TINY = 1e-30  # what a step is at least, where it divides


def coefficients(rule: Rule, s: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    """decay and weight of raw steps s, which end in a dimension of 1, (..., 1); A is (E, N)."""
    if rule == "none":
        g = torch.sigmoid(s)
        return 1 - g, g
    dt = F.softplus(s)
    return (torch.exp(dt * A) if rule == "exponential" else 1 + dt * A), dt


def scan(
    rule: Rule,
    u_BLE: Tensor,
    s_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_E: Tensor,
    z_BLE: Tensor | None,
    bias_E: Tensor,
    *,
    reverse: bool = False,
    initial_BEN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y, gated by silu(z) if it is given, and the final state (B, E, N) float32; `bias` is added to the raw steps.

    The arguments are those of `selective_scan`, which serves the rule "exponential" alone.
    """
    if rule == "none":
        # the kernel's decay for A = -1 is exp(-softplus(s)) = 1 - g already; what it weighs by dt is made g u before
        dt = F.softplus(s_BLE.float() + bias_E)
        weighed = (u_BLE * (-torch.expm1(-dt) / dt.clamp_min(TINY))).to(u_BLE.dtype)
        given = (weighed, s_BLE, A_EN, B_BLN, C_BLN, None, None, bias_E)
        y_BLE, state_BEN = selective_scan(
            *given, initial_state_BDN=initial_BEN, return_final_state=True, reverse=reverse
        )
    else:
        y_BLE, state_BEN = _token_by_token(rule, u_BLE, s_BLE + bias_E, A_EN, B_BLN, C_BLN, reverse, initial_BEN)
    y_BLE = y_BLE + (D_E * u_BLE).to(y_BLE.dtype)
    return (y_BLE if z_BLE is None else y_BLE * F.silu(z_BLE)), state_BEN


def _token_by_token(
    rule: Rule,
    u_BLE: Tensor,
    s_BLE: Tensor,
    A_EN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    reverse: bool,
    initial_BEN: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The recurrence as it stands: slow, for what no kernel serves."""
    u, s, B, C = (one if one.dtype == torch.float64 else one.float() for one in (u_BLE, s_BLE, B_BLN, C_BLN))
    h_BEN = u.new_zeros(len(u), *A_EN.shape) if initial_BEN is None else initial_BEN.to(u.dtype)
    ys: list[Tensor] = [u[:, 0]] * u.shape[1]
    for t in reversed(range(u.shape[1])) if reverse else range(u.shape[1]):
        decay_BEN, weight_BE1 = coefficients(rule, s[:, t].unsqueeze(-1), A_EN.to(u.dtype))
        h_BEN = decay_BEN * h_BEN + weight_BE1 * u[:, t].unsqueeze(-1) * B[:, t].unsqueeze(1)
        ys[t] = (h_BEN @ C[:, t].unsqueeze(-1)).squeeze(-1)
    return torch.stack(ys, 1).to(u_BLE.dtype), h_BEN
