"""Which back end serves an operation, and why.

`BAKEOFF_BACKEND` is `auto` (the default) or forces `reference` (plain PyTorch) or `native` (the C++ kernels
for CPU). `BAKEOFF_ISA` forces the instruction set of the native kernels (baseline, avx2, avx512); it is read
once, on import.
"""

import importlib
import os
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from bakeoff.errors import BackendMissing, BakeoffError

CHOICES = ("auto", "reference", "native")
NATIVE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INSTALL_HINT = "install a C++ compiler (Debian, Ubuntu: apt install g++), then bakeoff again (pip install .)"


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


@dataclass(frozen=True)
class Backend:
    """One back end: whether it can serve, and in words why (not)."""

    name: str
    available: bool
    detail: str


def backends() -> tuple[Backend, ...]:
    """All back ends on this machine, the preferred one first."""
    if NATIVE is None:
        native = Backend("native", False, _WHY_NOT_NATIVE)
    else:
        sets = ", ".join(NATIVE.instruction_sets())
        native = Backend("native", True, f"C++ kernels for CPU, using {NATIVE.active()} of {sets}")
    return native, Backend("reference", True, "plain PyTorch on any device and floating dtype; slow")


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
    """The back end for these tensors: `native` or `reference`.

    Raises:
        BackendMissing: BAKEOFF_BACKEND forces the native kernels and they are missing or cannot serve.
        BakeoffError: BAKEOFF_BACKEND names no back end.
    """
    choice = forced()
    if choice == "reference":
        return choice
    obstacle = _WHY_NOT_NATIVE or _obstacle([x for x in tensors if x is not None])
    if not obstacle:
        return "native"
    if choice == "native":
        raise BackendMissing(f"BAKEOFF_BACKEND forces the native kernels, but {obstacle}")
    return "reference"


def _obstacle(tensors: list[Tensor]) -> str:
    for x in tensors:
        if x.device.type != "cpu":
            return f"they run on the CPU and were given tensors on {x.device}"
        if x.dtype not in NATIVE_DTYPES:
            return f"they take {', '.join(str(d) for d in NATIVE_DTYPES)} and were given {x.dtype}"
    return ""
