"""Which back end serves an operation, and why.

`BAKEOFF_BACKEND` is `auto` (the default) or forces `reference` (plain PyTorch), `native` (the C++ kernels for CPU) or
`triton` (the kernels for GPUs; with TRITON_INTERPRET=1 they run on the CPU, slowly, for tests). `BAKEOFF_ISA` forces
the instruction set of the native kernels (baseline, avx2, avx512); it is read once, on import.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from bakeoff.errors import BackendMissing, BakeoffError

CHOICES = ("auto", "reference", "native", "triton")
KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INSTALL_HINT = "install a C++ compiler (Debian, Ubuntu: apt install g++), then bakeoff again (pip install .)"
TRITON_HINT = "pip install 'bakeoff[gpu]'"


def _load_native() -> tuple[ModuleType | None, str]:
    """The compiled module, or None and the reason."""
    try:
        native = importlib.import_module("bakeoff._native")
    except ImportError as error:
        return None, f"the native kernels are not built ({error}); {INSTALL_HINT}"
    isa = os.environ.get("BAKEOFF_ISA")
    if isa:
        try:
            native.use(isa)
        except ValueError as error:
            raise BakeoffError(f"BAKEOFF_ISA: {error}") from None
    return native, ""


NATIVE, _WHY_NOT_NATIVE = _load_native()
# This looks for Triton without importing it: the import takes a second, which only those who use it should wait.
_WHY_NOT_TRITON = "" if importlib.util.find_spec("triton") else f"Triton is not installed; {TRITON_HINT}"


@dataclass(frozen=True)
class Backend:
    """One back end: whether it can serve, and why or why not in words."""

    name: str
    available: bool
    detail: str


def backends() -> tuple[Backend, ...]:
    """All back ends on this machine, the preferred one for each device before the reference."""
    if NATIVE is None:
        native = Backend("native", False, _WHY_NOT_NATIVE)
    else:
        sets = ", ".join(NATIVE.instruction_sets())
        native = Backend("native", True, f"C++ kernels for CPU, using {NATIVE.active()} of {sets}")
    why_not = _WHY_NOT_TRITON
    if not why_not and not interpreted() and not torch.cuda.is_available():
        why_not = "torch sees no CUDA device; with TRITON_INTERPRET=1 the kernels run on the CPU, slowly, for tests"
    where = "interpreted on the CPU (TRITON_INTERPRET)" if interpreted() else "for CUDA devices"
    triton = Backend("triton", not why_not, why_not or f"Triton kernels, {where}")
    return native, triton, Backend("reference", True, "plain PyTorch on any device and floating dtype; slow")


def interpreted() -> bool:
    """Whether Triton runs its kernels without a GPU; it reads this when the kernels are first imported."""
    return os.environ.get("TRITON_INTERPRET", "") in ("1", "true", "on", "yes")


def forced() -> str:
    """The value of BAKEOFF_BACKEND, checked.

    Raises:
        BakeoffError: it is none of `CHOICES`.
    """
    choice = os.environ.get("BAKEOFF_BACKEND", "auto").strip().lower() or "auto"
    if choice not in CHOICES:
        raise BakeoffError(f"BAKEOFF_BACKEND is {choice!r}; it can be {', '.join(CHOICES)}")
    return choice


def choose(*tensors: Tensor | None) -> str:
    """The back end for these tensors: `native`, `triton` or `reference`.

    Raises:
        BackendMissing: BAKEOFF_BACKEND forces kernels that are missing or cannot serve.
        BakeoffError: BAKEOFF_BACKEND names no back end.
    """
    choice = forced()
    if choice == "reference":
        return choice
    given = [x for x in tensors if x is not None]
    kernels = compiled(*given)
    obstacle = _OBSTACLES[kernels](given)
    if not obstacle:
        return kernels
    if choice != "auto":
        raise BackendMissing(f"BAKEOFF_BACKEND forces the {choice} kernels, but {obstacle}")
    return "reference"


def compiled(*tensors: Tensor) -> str:
    """The kernels for these tensors if any kernels serve them: `triton` on CUDA devices and where forced."""
    choice = forced()
    if choice in ("native", "triton"):
        return choice
    return "triton" if any(x.device.type == "cuda" for x in tensors) else "native"


def why_not_native() -> str:
    """Why there are no native kernels; empty if there are."""
    return _WHY_NOT_NATIVE


def _native_obstacle(tensors: list[Tensor]) -> str:
    elsewhere = next((x.device for x in tensors if x.device.type != "cpu"), None)
    if _WHY_NOT_NATIVE:
        return _WHY_NOT_NATIVE
    return f"they run on the CPU and were given tensors on {elsewhere}" if elsewhere else _dtype_obstacle(tensors)


def _triton_obstacle(tensors: list[Tensor]) -> str:
    served = ("cuda", "cpu") if interpreted() else ("cuda",)
    elsewhere = next((x.device for x in tensors if x.device.type not in served), None)
    if _WHY_NOT_TRITON:
        return _WHY_NOT_TRITON
    if elsewhere:
        return f"they run on CUDA devices (with TRITON_INTERPRET=1 on the CPU) and were given tensors on {elsewhere}"
    return _dtype_obstacle(tensors)


def _dtype_obstacle(tensors: list[Tensor]) -> str:
    odd = next((x.dtype for x in tensors if x.dtype not in KERNEL_DTYPES), None)
    return f"they take {', '.join(str(d) for d in KERNEL_DTYPES)} and were given {odd}" if odd else ""


_OBSTACLES: dict[str, Callable[[list[Tensor]], str]] = {"native": _native_obstacle, "triton": _triton_obstacle}
