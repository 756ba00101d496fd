"""bo.run, and where and how visibly it runs: bo.local and bo.bar."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from bakeoff.cli.progress import Show
from bakeoff.cli.terminal import show_warnings
from bakeoff.execute import runner
from bakeoff.execute.devices import device_of
from bakeoff.execute.local import Listener, Options
from bakeoff.library.protocols import loaded
from bakeoff.library.runs import Run
from bakeoff.protocol.schema import Protocol
from bakeoff.registry import plugins_allowed
from bakeoff.rundir.directory import read_seal
from bakeoff.tasks import build_task


@dataclass(frozen=True)
class Local:
    """Trials on this machine, one process each; `bo.local` makes it."""

    device: str
    threads: int
    minutes: float | None
    data_dir: Path | None
    checkpoint_every_s: float
    jobs: int


def local(
    device: str = "auto",
    *,
    threads: int = 0,
    minutes: float | None = None,
    data_dir: str | Path | None = None,
    checkpoint_every_s: float = 30.0,
    jobs: int = 1,
) -> Local:
    """Trials on this machine, one process each; none of these options changes the experiment.

    Args:
        device: "cpu", "cuda", "cuda:1", ... or "auto": cuda where there is one.
        threads: of the CPU; 0 leaves the choice to torch.
        minutes: begin no trial that, judging by the finished ones, would not end within so many.
        data_dir: folder with the task's data; None: what ships.
        checkpoint_every_s: seconds between a trial's checkpoints.
        jobs: trials at once, on the CPU; each gets its share of the cores.

    Raises:
        BakeoffError: this machine has no such device.

    >>> import bakeoff as bo
    >>> bo.local("cpu", threads=2).threads
    2
    >>> bo.local("cuba")
    Traceback (most recent call last):
    bakeoff.errors.BakeoffError: device cuba: no such device; allowed: auto, cpu, cuda, cuda:N.
    """
    folder = None if data_dir is None else Path(data_dir)
    return Local(device_of(device, "device"), threads, minutes, folder, checkpoint_every_s, jobs)


def bar(style: Literal["auto", "bar", "text"] = "auto") -> Listener:
    """Shows the progress of a run: a bar on a terminal, lines of text in a notebook or a log.

    Any function of the trial's name and what happened (`bakeoff.trial.events`) can stand in its place.

    >>> import bakeoff as bo
    >>> run = bo.run("smoke", out="runs/smoke", progress=bo.bar("text"))
    warning: outcomes: one seed: any verdict is indicative, whatever the figures say
    mamba-s0: done before
    transformer-s0: done before
    hybrid-s0: done before
    """
    in_notebook = Console().is_jupyter  # which says that it is a terminal, and cannot move its cursor
    chosen = "text" if in_notebook and style == "auto" else style
    return Show(Console(highlight=False, force_jupyter=False), chosen)


def run(
    protocol: Protocol | str | Path,
    out: str | Path | None = None,
    *,
    on: Local | None = None,
    progress: Listener | None = None,
    allow_plugins: bool = False,
) -> Run:
    """Trains, measures, judges, and gives the run with its verdict; goes on where an earlier call of it was stopped.

    Whatever was finished is not done again, so a second call returns at once. It works in any thread; Ctrl-C stops it,
    with a checkpoint, in the main thread alone.

    Args:
        protocol: a protocol, or what `bo.load` takes. It is sealed before the first step.
        out: the run directory; None: runs/NAME, NAME being the protocol's.
        on: the machine; None: `bo.local()`.
        progress: `bo.bar()`, or a function that is called with the name of a trial and what happened; None: silent.
        allow_plugins: whether the protocol may name code of yours, which then runs here and in the trials.

    Raises:
        BakeoffError: the plan cannot decide its question, the folder holds another run, or a trial refuses its input.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; the last checkpoint is whole.
        bakeoff.execute.deadline.OutOfTime: the next part would not end within `minutes`.
        bakeoff.execute.local.TrialFailed: a trial's process ended in another way; the message has its last words.

    >>> import bakeoff as bo
    >>> bo.run("smoke", out="runs/smoke").verdict.outcome
    'all_eliminated'
    >>> bo.run(bo.load("smoke", seeds=[1]), out="runs/smoke")
    Traceback (most recent call last):
    bakeoff.errors.BakeoffError: runs/smoke: holds a run of another protocol ...
    """
    resolved, on = loaded(protocol), on or local()
    listen = bar() if progress is bar else progress or _silent
    deadline = None if on.minutes is None else time.monotonic() + 60 * on.minutes
    options = Options(on.device, on.threads, on.data_dir, on.checkpoint_every_s, allow_plugins, deadline, jobs=on.jobs)
    path = runner.default_out(resolved) if out is None else Path(out)
    try:
        with plugins_allowed(allow_plugins):
            if on.data_dir is not None:
                build_task(resolved).check_data(on.data_dir)  # refuses bad files before anything is written
            directory = runner.prepare(path, resolved, resume=True)
            if isinstance(listen, Show):
                show_warnings(listen.console, read_seal(path))
            runner.execute(directory, options, listen)
    finally:
        if isinstance(listen, Show):
            listen.close()
    return Run(path, allow_plugins=allow_plugins)


def _silent(*_: object) -> None:
    pass
