"""Output of `bakeoff doctor`: versions, devices, and which kernel serves each operation."""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bakeoff.errors import BackendMissing
from bakeoff.ops import dispatch
from bakeoff.trial.meters import environment

OPERATIONS = ("selective_scan", "causal_conv", "ssd", "step")  # of bakeoff.ops


def diagnose() -> dict[str, Any]:
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    serving, why = _serving()
    return {
        "environment": environment(torch.device("cpu")),
        "devices": ["cpu", *cuda],
        "backends": [
            {"name": one.name, "available": one.available, "detail": one.detail} for one in dispatch.backends()
        ],
        "kernels": {name: {"backend": serving, "why": why} for name in OPERATIONS},
        "cuda": _serving_cuda(),
    }


def _serving() -> tuple[str | None, str]:
    """The back end that serves float32 tensors on the CPU, and why; None if the one demanded cannot."""
    choice = dispatch.forced()
    try:
        name = dispatch.choose(torch.empty(0))
    except BackendMissing as error:
        return None, str(error)
    detail = next(one.detail for one in dispatch.backends() if one.name == name)
    return name, detail + (f"; forced by BAKEOFF_BACKEND={choice}" if choice != "auto" else "")


def _serving_cuda() -> str:
    """The back end that serves, or would serve, tensors on a CUDA device."""
    choice = dispatch.forced()
    if choice == "native":
        return "nothing: BAKEOFF_BACKEND=native forces the kernels for CPU"
    triton = next(one for one in dispatch.backends() if one.name == "triton")
    if choice == "reference" or not triton.available:
        return f"the reference (plain PyTorch), slowly: {'forced' if choice == 'reference' else triton.detail}"
    return "the Triton kernels"


def show_diagnosis(console: Console, found: dict[str, Any]) -> None:
    for key, value in found["environment"].items():
        console.print(f"{key:12} {value}")
    console.print(f"{'devices':12} {', '.join(found['devices'])}")
    for one in found["backends"]:
        console.print(f"{one['name']:12} {'' if one['available'] else 'not available: '}{one['detail']}")
    table = Table("operation on the CPU", "back end", "why")
    for name, kernel in found["kernels"].items():
        table.add_row(name, kernel["backend"] or "none", kernel["why"])
    console.print(table)
    console.print(f"CUDA tensors: served by {found['cuda']}", soft_wrap=True)
