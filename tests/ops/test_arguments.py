"""Bad arguments raise an error that names the argument, on every back end; and the choice of a back end."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from oracle import conv_inputs, scan_inputs

from bakeoff.ops import backends, causal_conv, dispatch, selective_scan

B, L, D, N, K = 2, 6, 5, 3, 4

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


@pytest.mark.parametrize(("name", "value", "error"), BAD_SCAN)
def test_scan_names_the_bad_argument(backend: str, name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        selective_scan(**{**scan_inputs(B, L, D, N), name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value", "error"), BAD_CONV)
def test_conv_names_the_bad_argument(backend: str, name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"\b{name}\b"):
        causal_conv(**{**conv_inputs(B, L, D, K), name: value})  # type: ignore[arg-type]


def test_the_native_back_end_serves_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAKEOFF_BACKEND", raising=False)
    native, _, reference = backends()
    assert reference.available
    assert dispatch.choose(torch.zeros(1)) == ("native" if native.available else "reference")
    assert dispatch.choose(torch.zeros(1, dtype=torch.float64)) == "reference"


def test_an_unknown_back_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "cuda")
    with pytest.raises(ValueError, match=r"BAKEOFF_BACKEND.*auto, reference, native, triton"):
        dispatch.choose()


def test_a_forced_back_end_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "native")
    monkeypatch.setattr(dispatch, "_WHY_NOT_NATIVE", f"not built; {dispatch.INSTALL_HINT}")
    with pytest.raises(RuntimeError, match=r"pip install \."):
        dispatch.choose(torch.zeros(1))
    monkeypatch.setenv("BAKEOFF_BACKEND", "triton")
    monkeypatch.setattr(dispatch, "_WHY_NOT_TRITON", f"Triton is not installed; {dispatch.TRITON_HINT}")
    with pytest.raises(RuntimeError, match=r"pip install 'bakeoff\[gpu\]'"):
        dispatch.choose(torch.zeros(1))


def test_triton_serves_the_cpu_under_its_interpreter_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "triton")
    monkeypatch.setattr(dispatch, "_WHY_NOT_TRITON", "")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(RuntimeError, match=r"CUDA devices.*TRITON_INTERPRET=1.*tensors on cpu"):
        dispatch.choose(torch.zeros(1))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert dispatch.choose(torch.zeros(1)) == "triton"


def test_the_package_imports_no_triton() -> None:
    code = "import sys, bakeoff.ops, bakeoff.cli; sys.exit('triton.language' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_forced_back_end_that_cannot_serve_says_why(compiled: str) -> None:
    inputs = {k: x.double() for k, x in scan_inputs(B, L, D, N).items()}
    with pytest.raises(RuntimeError, match="float64"):
        selective_scan(**inputs)  # type: ignore[arg-type]


@pytest.fixture(params=["scan", "conv"])
def call(request: pytest.FixtureRequest) -> Callable[[torch.Tensor], torch.Tensor]:
    if request.param == "scan":
        rest = list(scan_inputs(B, L, D, N).values())[1:5]
        return lambda u: selective_scan(u, *rest)
    weight = conv_inputs(B, L, D, K)["weight_DK"]
    return lambda x: causal_conv(x, weight)


def test_second_derivatives_are_refused(compiled: str, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(B, L, D, requires_grad=True)
    (first,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivatives.*BAKEOFF_BACKEND=reference"):
        first.sum().backward()


def test_forward_mode_is_refused(compiled: str, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(B, L, D)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RuntimeError, match="no forward-mode"):
        call(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))


def test_the_reference_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "reference")
    inputs = [x.double().requires_grad_() for x in scan_inputs(1, 3, 2, 2).values()]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a[:8]), inputs[:8], check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda *a: selective_scan(*a[:8]), inputs[:8])
