"""The tensors of the state space dual form as its compiled kernels take them.

Shapes: B batch, L tokens, G groups of queries and keys, H heads, R ranks, N states, P channels a head.
"""

from typing import NamedTuple

from torch import Tensor


class SsdInputs(NamedTuple):
    """A token's q, k and v are contiguous; the others are contiguous and float32. Gradients come as one too."""

    q_BLGRN: Tensor
    k_BLGRN: Tensor
    v_BLHRP: Tensor
    log_decay_BLH: Tensor
    w_BLH: Tensor
    g_BLH: Tensor
    initial_BHPN: Tensor | None
