"""Whole runs that several files look at."""

from pathlib import Path

import pytest
from command import bakeoff
from tiny_run import finish, results


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest preset; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    done = bakeoff("run", "smoke", "--out", out, "--threads", 1, "--progress", "text")
    assert done.returncode == 0, done.stderr
    assert "Verdict:" in done.stdout and "hybrid-s0: loss" in done.stdout
    return out


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    code, errors = finish(out)
    assert code == 0, errors
    return out


@pytest.fixture(scope="session")
def undisturbed(whole_run: Path) -> dict[str, object]:
    """Its results, which no interruption may change."""
    return results(whole_run)
