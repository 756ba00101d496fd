"""Worker processes on this machine, several at once: starts them, listens to them, and stops them in order."""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.rundir.directory import RunDir
from bakeoff.trial import surroundings
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
    threads: int = 0  # of each process; 0: torch's default, or the cores shared out among the jobs
    data_dir: Path | None = None
    checkpoint_every_s: float = 30.0
    allow_plugins: bool = False
    deadline: float | None = None  # a time of time.monotonic(); nothing begins that would end later
    only_sweep: bool = False  # stop after the sweep
    jobs: int = 1  # trials at once; what is timed is alone

    @property
    def threads_each(self) -> int:
        return self.threads or (max(1, cores() // self.jobs) if self.jobs > 1 else 0)


@dataclass(frozen=True)
class Job:
    """`python -m MODULE RUN ARGUMENTS`, to be run in a process of its own; `name` is the trial's or the pass's."""

    name: str
    module: str
    arguments: list[str]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    run: RunDir, jobs: Iterator[Job], options: Options, listen: Listener, lock: int
) -> Generator[str, None, None]:
    """Runs the jobs, as many at once as the options say, and gives the name of each as soon as it is done.

    A job is asked for when there is room for it. Where none can be given, those at work are waited for, and the error
    is raised then. On SIGINT or SIGTERM, or when one job fails, the others are asked to stop, and waited for.

    Raises:
        Interrupted: the user stopped it, or a worker stopped on request.
        BakeoffError: a worker refused its input.
        TrialFailed: a worker ended in another way.
    """
    heard_of: queue.Queue[tuple[_Worker, str | None]] = queue.Queue()
    at_work: list[_Worker] = []
    more, refused = True, None
    try:
        while True:
            while more and len(at_work) < options.jobs:
                try:
                    job = next(jobs, None)
                except Exception as error:
                    job, refused = None, error
                if job is None:
                    more = False
                else:
                    at_work.append(_Worker(run, job, options, lock, heard_of))
            if not at_work:
                break
            worker, line = heard_of.get()
            if line is not None:
                worker.hears(line, listen)
                continue
            at_work.remove(worker)
            worker.ended()
            yield worker.name
    except KeyboardInterrupt:
        for worker in at_work:
            listen(worker.name, Stopping())
        _stop(at_work)
        raise Interrupted from None
    except BaseException:
        _stop(at_work)
        raise
    if refused is not None:
        raise refused


class _Worker:
    """One process at work; what it says comes into the queue line by line, and None when it has ended."""

    def __init__(
        self, run: RunDir, job: Job, options: Options, lock: int, said: "queue.Queue[tuple[_Worker, str | None]]"
    ) -> None:
        self.name, self._message = job.name, ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            _command(run, job, options),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=surroundings.settled(),
            start_new_session=True,
            pass_fds=(lock,),
        )
        threading.Thread(target=self._listen, args=(said,), daemon=True).start()

    def _listen(self, said: "queue.Queue[tuple[_Worker, str | None]]") -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                said.put((self, line))
        self.process.wait()
        said.put((self, None))

    def hears(self, line: str, listen: Listener) -> None:
        event = heard(line)
        if isinstance(event, Failed):
            self._message = event.message
        elif event is not None:
            listen(self.name, event)

    def ended(self) -> None:
        """Raises what its exit code means."""
        code = self.process.wait()
        with self._errors:
            self._errors.seek(0)
            rest = self._errors.read().decode(errors="replace").strip()
        if code == STOPPED:
            raise Interrupted
        if code == REFUSED and self._message:
            raise BakeoffError(self._message)
        if code == UNWRITABLE:
            raise TrialFailed(self._message)
        if code:
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            memory = " The system does that when memory runs out." if code == -signal.SIGKILL else ""
            raise TrialFailed(f"the process of {self.name} ended {how}.{memory}\n{rest}".strip())


def _command(run: RunDir, job: Job, options: Options) -> list[str]:
    # -P: a user's file with the name of a module must not be imported in its place
    command = [sys.executable, "-P", "-m", job.module, str(run.path), *job.arguments, "--parent", str(os.getpid())]
    command += ["--device", options.device, "--threads", str(options.threads_each)]
    command += ["--protocol", run.protocol.digest()]
    command += ["--checkpoint-every", str(options.checkpoint_every_s), "--launched", repr(time.time())]
    if options.allow_plugins:
        command.append("--allow-plugins")
    if options.data_dir is not None:
        command += ["--data-dir", str(options.data_dir)]
    return command


def _stop(workers: list[_Worker]) -> None:
    """Stops them after their current step; a second Ctrl-C does not wait for that."""
    try:
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.process.wait()
    except KeyboardInterrupt:
        for worker in workers:
            worker.process.kill()
