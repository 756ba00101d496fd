"""The version of the running code: the package's version and, in a checkout, its commit."""

import os
import subprocess
from functools import cache
from pathlib import Path

from bakeoff import __version__
from bakeoff.protocol.seal import Code

HERE = Path(__file__)


@cache
def running_code() -> Code:
    """The code's version; with a commit only if git tracks this file, since a package may lie in another checkout."""
    if _git("ls-files", "--error-unmatch", HERE.name) is None:
        return Code(version=__version__)
    changes = _git("status", "--porcelain", "--", ":/")
    return Code(version=__version__, commit=_git("rev-parse", "HEAD"), dirty=None if changes is None else bool(changes))


def _git(*arguments: str) -> str | None:
    try:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *arguments], cwd=HERE.parent, env=plain, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
