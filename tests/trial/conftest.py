"""A tiny run that nothing interrupted, for the tests that interrupt it; a copy of a small one, to be judged."""

import shutil
from pathlib import Path

import pytest
from tiny_run import finish, results

from bakeoff.trial.rundir import RunDir


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


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> RunDir:
    """A finished run of one's own."""
    return RunDir.open(Path(shutil.copytree(smoke, tmp_path / "run")))
