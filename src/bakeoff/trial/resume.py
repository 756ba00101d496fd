"""Resumes a stopped trial from its newest undamaged checkpoint; one wrong byte and a checkpoint is not used."""

from collections.abc import Callable
from typing import NamedTuple

from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.trial.checkpoint import load_state
from bakeoff.trial.trainer import Trainer


class Earlier(NamedTuple):
    """Totals of the processes before this one."""

    wall_s: float
    resumed: int


def identity(run: RunDir, trial: TrialDir) -> str:
    """Names the trial and experiment that a checkpoint belongs to."""
    return f"{run.digest}/{trial.name}"


def resume_from_checkpoint(
    trial: TrialDir, of: str, fresh: Callable[[], Trainer], tell: Callable[[str], None]
) -> tuple[Trainer, Earlier | None]:
    """A trainer at the newest undamaged checkpoint, or at the start if there is none; removes damaged checkpoints.

    Args:
        of: the trial's identity; checkpoints of other trials are not used.
    """
    kept = [path for path in (trial.resume, trial.previous) if path.is_file()]
    for path in kept:
        trainer = fresh()
        try:
            state = load_state(path)
            if state["of"] != of:
                raise ValueError("it is another trial's")
            trainer.restore(state["trainer"])
            return trainer, Earlier(float(state["wall_s"]), int(state["resumed"]))
        except Exception as error:  # a stranger's state may raise anything; none of its code is run
            reason = str(error).removeprefix(f"{path}: ") or type(error).__name__
            instead = "the start" if path is kept[-1] else "the one before it"
            tell(f"{path.name} cannot be used ({reason[:200].rstrip('.')}); it is removed, going on from {instead}.")
            path.unlink()
    return fresh(), None
