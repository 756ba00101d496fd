"""One whole run that several files look at."""

from pathlib import Path

import pytest
from command import bakeoff


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest preset; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    done = bakeoff("run", "smoke", "--out", out, "--threads", 1, "--progress", "text")
    assert done.returncode == 0, done.stderr
    assert "Verdict:" in done.stdout and "hybrid-s0: loss" in done.stdout
    return out
