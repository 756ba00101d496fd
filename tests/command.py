"""The command as a user calls it, but forked from a process that has imported torch, which is most of a short one."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import bakeoff as package

COMMAND = [sys.executable, "-m", "bakeoff"]
TIMEOUT_S = 300
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "bakeoff.cli", "bakeoff.judging.verdicts", "bakeoff.models.trunk"])


def bakeoff(
    *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python -m bakeoff ARGUMENTS` gives; the tests that stop or kill a command start it in full."""
    command = [*map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        files = (FORKS.reducer.DupFd(out.fileno()), FORKS.reducer.DupFd(errors.fileno()))
        called = (command, cwd or Path.cwd(), dict(environment or os.environ), files)
        process = FORKS.Process(target=_called, args=called)
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([*COMMAND, *command], TIMEOUT_S)
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess([*COMMAND, *command], process.exitcode, out.read(), errors.read())


def _called(command: list[str], cwd: Path, environment: dict[str, str], files) -> None:
    """In the forked process: its own streams, folder, environment and arguments, then the command."""
    for place, file in enumerate(files, start=1):
        os.dup2(file.detach(), place)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(Path(package.__file__).with_name("__main__.py")), *command]
    from bakeoff.cli import main

    main()
