"""Shared by all tests: one torch thread, so that tests behave alike on busy machines; Triton interpreted; two runs."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, which torch may do too
import torch

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers have it of the process that starts them
    os.environ["BAKEOFF_HOME"] = tempfile.mkdtemp(prefix="bakeoff-home-")  # the user's own stays as it is
    atexit.register(shutil.rmtree, os.environ["BAKEOFF_HOME"], ignore_errors=True)

from bakeoff.rundir.directory import RunDir
from command import bakeoff
from tiny_run import finish, results

torch.set_num_threads(1)
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder for all workers of pytest-xdist: the first that needs it makes it, the others wait for that."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    folder = (factory.getbasetemp() if alone else factory.getbasetemp().parent) / "shared" / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder / name)
            (folder / "made").touch()
    return folder / name


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the smallest preset; not to be changed."""

    def make(out: Path) -> None:
        done = bakeoff("run", "smoke", "--out", out, "--threads", 1, "--progress", "text")
        assert done.returncode == 0, done.stderr
        assert "Verdict:" in done.stdout and "hybrid-s0: loss" in done.stdout and "estimate on this CPU" in done.stdout
        assert f"report: {out / 'report/report.html'}\n" in done.stdout
        assert done.stdout.rstrip().endswith("bakeoff run mnist-quick")  # what to run for an answer

    return made_once(tmp_path_factory, "smoke", make)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run that nothing interrupted."""

    def make(out: Path) -> None:
        code, errors = finish(out)
        assert code == 0, errors

    return made_once(tmp_path_factory, "whole", make)


@pytest.fixture(scope="session")
def undisturbed(whole_run: Path) -> dict[str, object]:
    """Its results, which no interruption may change."""
    return results(whole_run)


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> RunDir:
    """A finished run of one's own."""
    return RunDir.open(Path(shutil.copytree(smoke, tmp_path / "run")))
