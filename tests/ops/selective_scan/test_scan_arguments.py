"""Bad arguments of the scan raise an error that names the argument, on every back end."""

import pytest
import torch
from oracle import scan_inputs

from bakeoff.ops import selective_scan

B, L, D, N = 2, 6, 5, 3

BAD_SCAN = [
    ("u_BLD", [1.0], TypeError),
    ("u_BLD", torch.zeros(B, L), ValueError),
    ("u_BLD", torch.zeros(B, L, D, dtype=torch.int64), TypeError),
    ("u_BLD", torch.zeros(B, L, D, dtype=torch.complex64), TypeError),
    ("u_BLD", torch.zeros(B, 0, D), ValueError),
    ("u_BLD", torch.zeros(B, L, 0), ValueError),
    ("u_BLD", torch.zeros(B, L, D).to_sparse(), TypeError),
    ("dt_BLD", None, TypeError),
    ("dt_BLD", torch.zeros(B, L + 1, D), ValueError),
    ("dt_BLD", torch.zeros(B, L, D, device="meta"), ValueError),
    ("A_DN", torch.zeros(N, D), ValueError),
    ("A_DN", torch.zeros(D), ValueError),
    ("A_DN", torch.zeros(D, 0), ValueError),
    ("A_DN", None, TypeError),
    ("B_BLN", torch.zeros(B, L, N + 1), ValueError),
    ("B_BLN", torch.zeros(B, N, L), ValueError),
    ("B_BLN", torch.zeros(B, L, N, dtype=torch.bool), TypeError),
    ("C_BLN", torch.zeros(B + 1, L, N), ValueError),
    ("C_BLN", "C", TypeError),
    ("D_D", torch.zeros(D + 1), ValueError),
    ("D_D", 1.0, TypeError),
    ("z_BLD", torch.zeros(B, L, D + 1), ValueError),
    ("dt_bias_D", torch.zeros(1, D), ValueError),
    ("initial_state_BDN", torch.zeros(B, N, D), ValueError),
    ("dt_softplus", 1, TypeError),
    ("return_final_state", "yes", TypeError),
    ("reverse", None, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), BAD_SCAN)
def test_scan_names_the_bad_argument(backend: str, name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        selective_scan(**{**scan_inputs(B, L, D, N), name: value})  # type: ignore[arg-type]
