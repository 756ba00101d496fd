"""Takes a stopped trial up at its newest whole checkpoint: whole to the byte, or not used."""

from collections.abc import Callable
from typing import NamedTuple

from bakeoff.run.directory import RunDir, TrialDir
from bakeoff.trial.checkpoint import load_state
from bakeoff.trial.trainer import Trainer


class Earlier(NamedTuple):
    """Of the processes before this one."""

    wall_s: float
    resumed: int


def identity(run: RunDir, trial: TrialDir) -> str:
    """Which trial of which experiment a checkpoint is of."""
    return f"{run.digest}/{trial.name}"


def resume_from_checkpoint(
    trial: TrialDir, of: str, fresh: Callable[[], Trainer], tell: Callable[[str], None]
) -> tuple[Trainer, Earlier | None]:
    """A trainer at the newest checkpoint that is whole, or at the start if none is; damaged ones are removed.

    Args:
        of: the trial's identity; the checkpoint of another is not used.
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
        except Exception as error:  # from a stranger's state anything; none of it is run
            reason = str(error).removeprefix(f"{path}: ") or type(error).__name__
            instead = "the start" if path is kept[-1] else "the one before it"
            tell(f"{path.name} cannot be used ({reason[:200].rstrip('.')}); it is removed, going on from {instead}.")
            path.unlink()
    return fresh(), None
