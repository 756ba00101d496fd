"""Depthwise causal convolution fused with SiLU: one function over all back ends.

Shapes: B batch, L tokens, D channels, K taps.
"""

from typing import Literal

from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.arguments import check_flag, check_floating, check_positive, check_tensor
from bakeoff.ops.causal_conv import reference

MAX_TAPS = 8


def causal_conv(
    x_BLD: Tensor,
    weight_DK: Tensor,
    bias_D: Tensor | None = None,
    *,
    activation: Literal["silu"] | None = "silu",
    reverse: bool = False,
) -> Tensor:
    """Convolves every channel with the token itself and the K - 1 before it, then applies SiLU.

        s_t = bias + sum_k weight[:, k] x_{t-(K-1)+k} ;  y_t = s_t sigmoid(s_t) ;  x_t = 0 for t < 0

    Differentiable once in every tensor; the result does not depend on the number of threads.

    Args:
        x_BLD: input; float32, bfloat16, float16, or float64, which the reference serves. A
            strided view with contiguous last axis is not copied.
        weight_DK: taps, 1 <= K <= 8, taken as float32; the last one multiplies the token itself.
        bias_D: added before the activation; none if absent.
        activation: "silu", or None for s itself.
        reverse: each token sees the K - 1 tokens after it: flip(conv(flip(x))) without the copies.

    Returns:
        y_BLD in x's dtype.

    Raises:
        TypeError: an argument is no tensor, or not of a floating dtype, or a flag is no bool.
        ValueError: an argument has a wrong shape, device or value.
        RuntimeError: as for `selective_scan`.

    Source: Gu & Dao 2023, "Mamba", figure 3.
    """
    check_floating("x_BLD", x_BLD, 3)
    check_floating("weight_DK", weight_DK, 2)
    sizes = {**dict(zip("BLD", x_BLD.shape, strict=True)), "K": weight_DK.shape[1]}
    check_positive(sizes, {"L": "x_BLD", "D": "x_BLD", "K": "weight_DK"})
    check_tensor("weight_DK", weight_DK, x_BLD, "DK", sizes)
    if sizes["K"] > MAX_TAPS:
        raise ValueError(f"weight_DK has K = {sizes['K']} taps; it can have 1 to {MAX_TAPS}")
    if bias_D is not None:
        check_tensor("bias_D", bias_D, x_BLD, "D", sizes)
    if activation not in ("silu", None):
        raise ValueError(f"activation is {activation!r}; it can be 'silu' or None")
    check_flag("reverse", reverse)

    silu = activation == "silu"
    if dispatch.choose(x_BLD, weight_DK, bias_D) != "reference":
        from bakeoff.ops.causal_conv import autograd

        return autograd.causal_conv(x_BLD, weight_DK, bias_D, silu, reverse)
    return reference.causal_conv(x_BLD, weight_DK, bias_D, silu, reverse)
