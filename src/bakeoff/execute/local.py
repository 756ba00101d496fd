"""Worker processes on this machine: starts them, listens to them, and stops them in order."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.rundir.directory import RunDir
from bakeoff.trial import omp
from bakeoff.trial.events import Event, Failed, Stopping, heard
from bakeoff.trial.process import REFUSED, STOPPED, UNWRITABLE

Listener = Callable[[str, Event], None]  # called with the name of the trial or pass, and what happened


class TrialFailed(Exception):
    """A trial's process ended unexpectedly."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; everything up to the last checkpoint is on disk."""

    def __init__(self) -> None:
        super().__init__("stopped; nothing is lost, and the same call goes on")


@dataclass(frozen=True)
class Options:
    """How to run; none of these options changes the experiment."""

    device: str = "cpu"
    threads: int = 0  # 0: torch's default
    data_dir: Path | None = None
    checkpoint_every_s: float = 30.0
    allow_plugins: bool = False
    deadline: float | None = None  # a time of time.monotonic(); nothing begins that would end later
    only_sweep: bool = False  # stop after the sweep


def run_process(
    run: RunDir, name: str, module: str, arguments: list[str], options: Options, listen: Listener, lock: int
) -> None:
    """Runs one worker process and passes on its progress; on SIGINT or SIGTERM asks it to stop, and waits for it.

    Raises:
        Interrupted: the user stopped it, or it stopped on request.
        BakeoffError: the worker refused its input.
        TrialFailed: the worker ended in another way.
    """
    # -P: a user's file with the name of a module must not be imported in its place
    command = [sys.executable, "-P", "-m", module, str(run.path), *arguments, "--parent", str(os.getpid())]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--protocol", run.protocol.digest()]
    command += ["--checkpoint-every", str(options.checkpoint_every_s), "--launched", repr(time.time())]
    if options.allow_plugins:
        command.append("--allow-plugins")
    if options.data_dir is not None:
        command += ["--data-dir", str(options.data_dir)]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=omp.settled(),
            start_new_session=True,
            pass_fds=(lock,),
        ) as child,
    ):
        assert child.stdout is not None
        message = ""
        try:
            for line in child.stdout:
                event = heard(line)
                if isinstance(event, Failed):
                    message = event.message
                elif event is not None:
                    listen(name, event)
            code = child.wait()
        except KeyboardInterrupt:
            listen(name, Stopping())
            _stop(child)
            raise Interrupted from None
        except BaseException:
            child.kill()
            raise
        errors.seek(0)
        rest = errors.read().decode(errors="replace").strip()
    if code == STOPPED:
        raise Interrupted
    if code == REFUSED and message:
        raise BakeoffError(message)
    if code == UNWRITABLE:
        raise TrialFailed(message)
    if code:
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        memory = " The system does that when memory runs out." if code == -signal.SIGKILL else ""
        raise TrialFailed(f"the process of {name} ended {how}.{memory}\n{rest}".strip())


def _stop(child: subprocess.Popen) -> None:
    """Stops the child after its current step; a second Ctrl-C does not wait for that."""
    try:
        child.send_signal(signal.SIGTERM)
        child.wait()
    except KeyboardInterrupt:
        child.kill()
