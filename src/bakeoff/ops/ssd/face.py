"""The operator of Mamba-2 and Mamba-3: one function over all back ends.

Shapes: B batch, L tokens, G groups of queries and keys, H heads, R ranks, N states, P channels a head.
"""

from typing import Literal, overload

import torch
from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.arguments import check_flag, check_floating, check_positive, check_tensor
from bakeoff.ops.ssd import reference
from bakeoff.ops.tensors import working_dtype


@overload
def ssd(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    *,
    initial_state_BHPN: Tensor | None = ...,
    return_final_state: Literal[False] = ...,
    reverse: bool = ...,
) -> Tensor: ...


@overload
def ssd(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    *,
    initial_state_BHPN: Tensor | None = ...,
    return_final_state: Literal[True],
    reverse: bool = ...,
) -> tuple[Tensor, Tensor]: ...


def ssd(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    *,
    initial_state_BHPN: Tensor | None = None,
    return_final_state: bool = False,
    reverse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The state space dual form: decayed linear attention, with a weight of its own for the token itself.

    Per head, with c the running sum of the log decays up to and with token t, and h the state before the first token:

        y_t = exp(c_t) h q_t + sum_{s<t} exp(c_t - c_s) w_s (q_t . k_s) v_s + g_t (q_t . k_t) v_t

    With R ranks every token has R queries, keys and values: the products are summed over the keys' ranks, and each
    query has its own y. Mamba-2 is k = B, q = C, v = x, log_decay = dt A, w = g = dt; Mamba-3 turns q and k by angles
    first, and its w holds the next token's share of the trapezoid. Differentiable once in every tensor, and with the
    reference to any order; memory is linear in L. Native results do not depend on the number of threads.

    Args:
        q_BLGRN: queries of L >= 1 tokens; each group serves H / G heads, one after the other.
        k_BLGRN: keys.
        v_BLHRP: values.
        log_decay_BLH: logarithms of the decays, 0 or below.
        w_BLH: weights of a token in the state, that is, for later tokens.
        g_BLH: weight of a token for itself.
        initial_state_BHPN: sum over earlier tokens of exp(c - c_s) w_s v_s k_s^T; zeros if absent.
        return_final_state: whether to return that sum after the last token, too. A following call that is given it
            gives what one call over all tokens would.
        reverse: from the last token to the first: flip(ssd(flip of every sequence)).

    Returns:
        y_BLHRP in v's dtype; with return_final_state also final_state_BHPN, float32 (float64 for float64 input).

    Raises:
        TypeError: an argument is no tensor, or not of a floating dtype, or a flag is no bool.
        ValueError: an argument has a wrong shape or device, or the groups do not divide the heads.

    Source: Dao & Gu 2024, "Transformers are SSMs", section 6; Lahoti et al. 2026, "Mamba-3".
    """
    check_floating("q_BLGRN", q_BLGRN, 5)
    check_floating("v_BLHRP", v_BLHRP, 5)
    sizes = dict(zip("BLGRN", q_BLGRN.shape, strict=True)) | {"H": v_BLHRP.shape[2], "P": v_BLHRP.shape[4]}
    check_positive(sizes, dict.fromkeys("LGRN", "q_BLGRN") | dict.fromkeys("HP", "v_BLHRP"))
    if sizes["H"] % sizes["G"]:
        raise ValueError(f"{sizes['H']} heads (v_BLHRP) cannot be shared by {sizes['G']} groups (q_BLGRN)")
    others = {"k_BLGRN": k_BLGRN, "v_BLHRP": v_BLHRP, "log_decay_BLH": log_decay_BLH, "w_BLH": w_BLH, "g_BLH": g_BLH}
    if initial_state_BHPN is not None:
        others["initial_state_BHPN"] = initial_state_BHPN
    for name, x in others.items():
        check_tensor(name, x, q_BLGRN, name.rpartition("_")[2], sizes)
    check_flag("return_final_state", return_final_state)
    check_flag("reverse", reverse)

    tensors = (q_BLGRN, k_BLGRN, v_BLHRP, log_decay_BLH, w_BLH, g_BLH, initial_state_BHPN)
    if dispatch.choose(*tensors) != "reference":
        from bakeoff.ops.ssd import autograd

        y_BLHRP, final_BHPN = autograd.ssd(*tensors, reverse, return_final_state)
    else:
        exact = any(x is not None and x.dtype == torch.float64 for x in tensors)
        dtype = torch.float64 if exact else working_dtype(v_BLHRP)
        y_BLHRP, final_BHPN = reference.ssd(*tensors, reverse, dtype)
        y_BLHRP = y_BLHRP.to(v_BLHRP.dtype)
    if not return_final_state:
        return y_BLHRP
    assert final_BHPN is not None
    return y_BLHRP, final_BHPN
