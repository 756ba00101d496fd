"""What `bakeoff doctor` tells: versions, devices, and which kernel serves each operation."""

from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bakeoff.trial.meters import environment


def diagnose() -> dict[str, Any]:
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "environment": environment(torch.device("cpu")),
        "devices": ["cpu", *cuda],
        "kernels": {
            "selective_scan": {"backend": "reference", "why": "plain PyTorch, the only back end so far"},
            "causal_conv": {"backend": "reference", "why": "plain PyTorch, the only back end so far"},
        },
    }


def show_diagnosis(console: Console, found: dict[str, Any]) -> None:
    for key, value in found["environment"].items():
        console.print(f"{key:12} {value}")
    console.print(f"{'devices':12} {', '.join(found['devices'])}")
    table = Table("operation", "back end", "why")
    for name, kernel in found["kernels"].items():
        table.add_row(name, kernel["backend"], kernel["why"])
    console.print(table)
