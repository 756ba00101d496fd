"""Mamba-1's selective scan: one function over all back ends.

Shapes: B batch, L tokens, D channels, N states.
"""

from typing import Literal, overload

import torch
from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.arguments import check_flag, check_floating, check_positive, check_tensor
from bakeoff.ops.selective_scan import reference


@overload
def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None = ...,
    z_BLD: Tensor | None = ...,
    dt_bias_D: Tensor | None = ...,
    *,
    dt_softplus: bool = ...,
    initial_state_BDN: Tensor | None = ...,
    return_final_state: Literal[False] = ...,
    reverse: bool = ...,
) -> Tensor: ...


@overload
def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None = ...,
    z_BLD: Tensor | None = ...,
    dt_bias_D: Tensor | None = ...,
    *,
    dt_softplus: bool = ...,
    initial_state_BDN: Tensor | None = ...,
    return_final_state: Literal[True],
    reverse: bool = ...,
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u_BLD: Tensor,
    dt_BLD: Tensor,
    A_DN: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_D: Tensor | None = None,
    z_BLD: Tensor | None = None,
    dt_bias_D: Tensor | None = None,
    *,
    dt_softplus: bool = True,
    initial_state_BDN: Tensor | None = None,
    return_final_state: bool = False,
    reverse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The selective state space recurrence of Mamba, with its skip connection and its gate.

        dt = softplus(dt + dt_bias) ;  h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t
        y_t = (<C_t, h_t> + D u_t) silu(z_t)

    Differentiable once in every tensor. The compiled back ends keep the state before every chunk of tokens and
    recompute the rest in backward: memory is linear in L and no (B, L, D, N) tensor exists. Native results do
    not depend on the number of threads (torch.get_num_threads()).

    Args:
        u_BLD: input, B samples of L >= 1 tokens of D channels.
        dt_BLD: step sizes, before bias and softplus.
        A_DN: decay rates, negative; N >= 1 states per channel.
        B_BLN: input weights, shared by the channels. A strided view with contiguous last axis, such
            as a slice of a projection, is not copied; the same holds for u, dt, C and z.
        C_BLN: output weights, shared by the channels.
        D_D: weight of the skip connection; none if absent.
        z_BLD: gate; none if absent.
        dt_bias_D: added to dt before the softplus.
        dt_softplus: whether dt passes through softplus; if not, dt + dt_bias should not be negative.
        initial_state_BDN: state before the first token; zeros if absent.
        return_final_state: whether to return the state after the last token too.
        reverse: runs from the last token to the first: flip(scan(flip of every sequence)) without the copies.

    Returns:
        y_BLD in u's dtype; with return_final_state also final_state_BDN, float32 (float64 for float64 input).

    u, dt, B, C, z may be float32, bfloat16 or float16, each its own; state, A, D and biases are taken as
    float32. If any of them is float64, the reference serves. NaN and infinities propagate as in the formula;
    denormal numbers count as zero.

    Raises:
        TypeError: an argument is no tensor, or not of a floating dtype, or a flag is no bool.
        ValueError: an argument has a wrong shape or device.
        RuntimeError: the forced back end cannot serve; or a compiled one is asked for second or forward-mode
            derivatives (the reference has both).

    Source: Gu & Dao 2023, "Mamba", equation 2 and algorithm 2.
    """
    check_floating("u_BLD", u_BLD, 3)
    check_floating("A_DN", A_DN, 2)
    sizes = {**dict(zip("BLD", u_BLD.shape, strict=True)), "N": A_DN.shape[1]}
    check_positive(sizes, {"L": "u_BLD", "D": "u_BLD", "N": "A_DN"})
    required = {"dt_BLD": dt_BLD, "A_DN": A_DN, "B_BLN": B_BLN, "C_BLN": C_BLN}
    optional = {"D_D": D_D, "z_BLD": z_BLD, "dt_bias_D": dt_bias_D, "initial_state_BDN": initial_state_BDN}
    for name, x in (required | {k: v for k, v in optional.items() if v is not None}).items():
        check_tensor(name, x, u_BLD, name.rpartition("_")[2], sizes)
    check_flag("dt_softplus", dt_softplus)
    check_flag("return_final_state", return_final_state)
    check_flag("reverse", reverse)

    tensors = (u_BLD, dt_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, dt_bias_D, initial_state_BDN)
    if dispatch.choose(*tensors) != "reference":
        from bakeoff.ops.selective_scan import autograd

        y_BLD, final_BDN = autograd.selective_scan(*tensors, dt_softplus, reverse, return_final_state)
    else:
        exact = any(x is not None and x.dtype == torch.float64 for x in tensors)
        u = u_BLD.double() if exact else u_BLD
        y_BLD, final_BDN = reference.selective_scan(u, *tensors[1:], dt_softplus, reverse)
        y_BLD = y_BLD.to(u_BLD.dtype)
    if not return_final_state:
        return y_BLD
    assert final_BDN is not None
    return y_BLD, final_BDN
