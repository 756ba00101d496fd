"""What `bakeoff doctor` tells: versions, devices, and which kernel serves each operation."""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bakeoff.ops import dispatch
from bakeoff.trial.meters import environment


def diagnose() -> dict[str, Any]:
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    serving = dispatch.choose(torch.empty(0))
    back_ends = {one.name: one for one in dispatch.backends()}
    choice = dispatch.forced()
    why = back_ends[serving].detail + (f"; forced by BAKEOFF_BACKEND={choice}" if choice != "auto" else "")
    return {
        "environment": environment(torch.device("cpu")),
        "devices": ["cpu", *cuda],
        "backends": [
            {"name": one.name, "available": one.available, "detail": one.detail} for one in dispatch.backends()
        ],
        "kernels": {name: {"backend": serving, "why": why} for name in ("selective_scan", "causal_conv")},
    }


def show_diagnosis(console: Console, found: dict[str, Any]) -> None:
    for key, value in found["environment"].items():
        console.print(f"{key:12} {value}")
    console.print(f"{'devices':12} {', '.join(found['devices'])}")
    for one in found["backends"]:
        console.print(f"{one['name']:12} {'' if one['available'] else 'not available: '}{one['detail']}")
    table = Table("operation on the CPU", "back end", "why")
    for name, kernel in found["kernels"].items():
        table.add_row(name, kernel["backend"], kernel["why"])
    console.print(table)
