"""The compiled code of all Triton kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["86", "90"])
def test_compiles_for_a_card(triton: str, arch: str) -> None:
    """Consumer and data-centre cards; shared memory within what the former have."""
    clean = {k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "BAKEOFF_BACKEND")}
    command = [sys.executable, "-m", "benchmarks.gpu_code", "--arch", arch]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
