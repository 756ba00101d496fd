"""Which back end serves a call, and what is said where the forced one cannot."""

import subprocess
import sys

import pytest
import torch
from oracle import scan_inputs

from bakeoff.ops import backends, dispatch, selective_scan


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
    inputs = {k: x.double() for k, x in scan_inputs(2, 6, 5, 3).items()}
    with pytest.raises(RuntimeError, match="float64"):
        selective_scan(**inputs)  # type: ignore[arg-type]
