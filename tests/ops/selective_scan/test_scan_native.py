"""The constants that the scan's C++ kernels and Python share."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = Path(__file__).parents[3] / "csrc" / "api.h"


@pytest.mark.parametrize("before", ["", "sys.modules['bakeoff._native'] = None"], ids=["as built", "not built"])
def test_python_has_the_constants_of_the_header(before: str) -> None:
    code = "from bakeoff.ops.selective_scan import native; print(native.CHUNK, native.PAD)"
    done = subprocess.run([sys.executable, "-c", f"import sys; {before}\n{code}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = HEADER.read_text()
    expected = [re.search(rf"constexpr int {name} = (\d+);", text) for name in ("kChunk", "kPad")]
    assert done.stdout.split() == [found[1] for found in expected if found]
