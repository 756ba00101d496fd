"""Bad arguments of the convolution raise an error that names the argument, on every back end."""

import pytest
import torch
from oracle import conv_inputs

from bakeoff.ops import causal_conv

B, L, D, K = 2, 6, 5, 4

BAD_CONV = [
    ("x_BLD", torch.zeros(L, D), ValueError),
    ("x_BLD", None, TypeError),
    ("x_BLD", torch.zeros(B, 0, D), ValueError),
    ("weight_DK", torch.zeros(D + 1, K), ValueError),
    ("weight_DK", torch.zeros(D, 9), ValueError),
    ("weight_DK", torch.zeros(D, 0), ValueError),
    ("weight_DK", torch.zeros(D, K, dtype=torch.int32), TypeError),
    ("bias_D", torch.zeros(K), ValueError),
    ("bias_D", torch.zeros(D, device="meta"), ValueError),
    ("activation", "relu", ValueError),
    ("reverse", 0, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_CONV)
def test_conv_names_the_bad_argument(backend: str, name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        causal_conv(**{**conv_inputs(B, L, D, K), name: value})  # type: ignore[arg-type]
