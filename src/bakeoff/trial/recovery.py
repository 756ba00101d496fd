"""What a run that goes on finds: leftovers are removed, damage is told and made good, trials go on where whole.

Nothing here guesses. A checkpoint is whole to the byte or is not used, a finished trial is whole or is run again; the
same seeds then give the same bits.
"""

from collections.abc import Callable
from typing import NamedTuple

from bakeoff.errors import BakeoffError
from bakeoff.protocol.schema import Protocol
from bakeoff.trial.checkpoint import load_state
from bakeoff.trial.layouts import read_checkpoint
from bakeoff.trial.outcome import step_times
from bakeoff.trial.rundir import RunDir, TrialDir, read_json
from bakeoff.trial.samples import read_samples
from bakeoff.trial.trainer import Trainer

Tell = Callable[[str, str], None]  # the name of what is damaged, and what is done about it


class TakenUp(NamedTuple):
    """Of the processes before this one."""

    wall_s: float
    resumed: int


def identity(protocol: Protocol, trial: TrialDir) -> str:
    """Which trial of which experiment a checkpoint is of."""
    return f"{protocol.digest()}/{trial.name}"


def take_up(
    trial: TrialDir, fresh: Callable[[], Trainer], tell: Callable[[str], None]
) -> tuple[Trainer, TakenUp | None]:
    """A trainer at the newest checkpoint that is whole, or at the start if none is; damaged ones are removed."""
    kept = [path for path in (trial.resume, trial.previous) if path.is_file()]
    for path in kept:
        trainer = fresh()
        try:
            state = load_state(path)
            if state["of"] != identity(trainer.protocol, trial):
                raise ValueError("it is another trial's")
            trainer.restore(state["trainer"])
            return trainer, TakenUp(float(state["wall_s"]), int(state["resumed"]))
        except Exception as error:  # from a stranger's state anything; none of it is run
            reason = str(error).removeprefix(f"{path}: ") or type(error).__name__
            instead = "the start" if path is kept[-1] else "the one before it"
            tell(f"{path.name} cannot be used ({reason[:200].rstrip('.')}); it is removed, going on from {instead}.")
            path.unlink()
    return fresh(), None


def tidy(run: RunDir, tell: Tell) -> None:
    """Before anything is run: removes what killed writers left, and whatever is damaged, so that it is made again."""
    for folder in (run.path, *(trial.path for trial in run.trials())):
        if folder.is_dir():
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
    for trial in run.trials():
        if not trial.done:
            continue
        try:
            check_trial(run, trial)
        except BakeoffError as error:
            tell(trial.name, f"{error} This trial is run again.")
            trial.measurement_file.unlink()
            continue
        for path in (trial.resume, trial.previous):  # it was killed after its last write
            path.unlink(missing_ok=True)
    for path, read in (
        (run.speed, lambda: step_times(run)),
        (run.floor, lambda: read_json(run.floor)),
        (run.environment, lambda: read_json(run.environment)),
    ):
        try:
            if path.is_file():
                read()
        except BakeoffError as error:
            tell(path.name, f"{error} It is made again.")
            path.unlink()


def check_trial(run: RunDir, trial: TrialDir) -> None:
    """Whether a finished trial is whole.

    Raises:
        BakeoffError: says which of its files is missing, damaged or another trial's.
    """
    if trial.measurement().status == "completed":
        read_samples(trial.samples, run.protocol)
        read_checkpoint(trial.model)
