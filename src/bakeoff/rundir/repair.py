"""Repairs a run before it is resumed: removes leftovers, reports damage, and removes what must be made again.

Nothing here guesses. A checkpoint is used only if every byte is right, and a finished trial is kept only if it is
whole; otherwise it is run again, and the same seeds give the same bits.
"""

from collections.abc import Callable

from bakeoff.errors import BakeoffError
from bakeoff.protocol.probes import PROBES
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.files import read_json
from bakeoff.rundir.foreign_checkpoints import read_checkpoint

Tell = Callable[[str, str], None]  # called with the name of the damaged part, and what is done about it


def repair(run: RunDir, tell: Tell) -> None:
    """Call before anything is run: removes what killed writers left and what is damaged, so that it is made again."""
    for folder in (run.path, *(trial.path for trial in run.all_trials())):
        if folder.is_dir():
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
    for trial in run.all_trials():
        if not trial.done:
            continue
        try:
            check_trial(trial)
        except BakeoffError as error:
            tell(trial.name, f"{error} This trial is run again.")
            trial.measurement_file.unlink()
            continue
        for path in (trial.resume, trial.previous):  # the trial was killed after its last write
            path.unlink(missing_ok=True)
    for path, read in (
        *((run.probe_file(name), lambda name=name: run.probe(name)) for name in PROBES),
        (run.speed, lambda: run.probe("step_time")),
        (run.floor, run.floor_record),
        (run.environment, lambda: read_json(run.environment)),
    ):
        try:
            if path.is_file():
                read()
        except BakeoffError as error:
            tell(path.relative_to(run.path).as_posix(), f"{error} It is made again.")
            path.unlink()


def check_trial(trial: TrialDir) -> None:
    """Checks that a finished trial is whole.

    Raises:
        BakeoffError: a file is missing, damaged or another trial's; the message says which.
    """
    if trial.measurement().status == "completed":
        trial.items()
        read_checkpoint(trial.model)
