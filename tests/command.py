"""The command as a user calls it."""

import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "bakeoff"]


def bakeoff(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300)
