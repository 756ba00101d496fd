"""What a run that goes on finds: leftovers are removed, damage is told and made good, trials go on where whole.

Nothing here guesses. A checkpoint is whole to the byte or is not used, a finished trial is whole or is run again; the
same seeds then give the same bits.
"""

from collections.abc import Callable

from bakeoff.errors import BakeoffError
from bakeoff.protocol.probes import PROBES
from bakeoff.run.directory import RunDir, TrialDir
from bakeoff.run.files import read_json
from bakeoff.run.foreign_checkpoints import read_checkpoint

Tell = Callable[[str, str], None]  # the name of what is damaged, and what is done about it


def repair(run: RunDir, tell: Tell) -> None:
    """Before anything is run: removes what killed writers left, and whatever is damaged, so that it is made again."""
    for folder in (run.path, *(trial.path for trial in run.trials())):
        if folder.is_dir():
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
    for trial in run.trials():
        if not trial.done:
            continue
        try:
            check_trial(trial)
        except BakeoffError as error:
            tell(trial.name, f"{error} This trial is run again.")
            trial.measurement_file.unlink()
            continue
        for path in (trial.resume, trial.previous):  # it was killed after its last write
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
    """Whether a finished trial is whole.

    Raises:
        BakeoffError: says which of its files is missing, damaged or another trial's.
    """
    if trial.measurement().status == "completed":
        trial.items()
        read_checkpoint(trial.model)
