"""The tensors of a selective scan as its compiled kernels take them.

Shapes: B batch, L tokens, D channels, N states.
"""

from typing import NamedTuple

from torch import Tensor


class ScanInputs(NamedTuple):
    """Sequences have a contiguous last axis; the others are contiguous and float32. Gradients come as one too."""

    u_BLD: Tensor
    dt_BLD: Tensor
    A_DN: Tensor
    B_BLN: Tensor
    C_BLN: Tensor
    D_D: Tensor | None
    z_BLD: Tensor | None
    dt_bias_D: Tensor | None
    initial_BDN: Tensor | None
