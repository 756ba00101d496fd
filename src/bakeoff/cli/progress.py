"""Shows the progress of a run on a terminal."""

import time
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bakeoff.cli.terminal import duration, show_sweep, show_value
from bakeoff.errors import printable
from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.verdict import headline
from bakeoff.trial.events import (
    AlreadyDone,
    Chosen,
    Damaged,
    Event,
    MachineChanged,
    Measured,
    Probing,
    Sampling,
    SoFar,
    Started,
    Stepped,
    Stopping,
)

TEXT_EVERY_S = 10.0


@dataclass
class _Training:
    """One training as it was when it began, and when a line of text last spoke of it."""

    total: int
    started_step: int
    started_at: float
    said_at: float
    task: TaskID | None = None


class Show:
    """Listens to a run and shows its progress as bars, one for each training, as lines of text, or not at all."""

    def __init__(self, console: Console, style: str) -> None:
        self.console = console
        self.style = ("bar" if console.is_terminal else "text") if style == "auto" else style
        self._progress: Progress | None = None
        self._trainings: dict[str, _Training] = {}

    def __call__(self, name: str, event: Event) -> None:
        if self.style == "none" and not isinstance(event, Damaged):
            return
        match event:
            case Started():
                self._start(name, event)
            case Stepped():
                self._step(name, event)
            case Sampling():
                self._ended(name)
            case Stopping():
                self._ended(name)
                self.console.print(f"{name}: stopping, writing a checkpoint ...")
            case Damaged(message):
                self.console.print(escape(printable(f"{name}: {message}")))
            case AlreadyDone():
                self.console.print(f"{name}: done before")
            case Measured(measurement):
                self._ended(name)
                self.console.print(f"{name}: {_in_words(measurement)}")
            case Chosen(swept):
                show_sweep(self.console, swept)
                for warning in swept.warnings():
                    self.console.print(f"warning: {warning}", markup=False)
            case SoFar(verdict, left_s):
                if verdict.so_far is not None:
                    said = f"so far: {headline(verdict.so_far)} (about {duration(left_s)} to go)"
                    self.console.print(said, markup=False)
            case Probing(probe):
                title = probe.replace("_", " ")
                self.console.print(f"{title}: all candidates in turn, alone on the machine ...", markup=False)
            case MachineChanged(changed):
                changes = ", ".join(f"{key} is now {value}" for key, value in changed.items())
                self.console.print(f"note: the machine is not the one this run began on: {escape(changes)}")

    def _start(self, name: str, event: Started) -> None:
        now = time.monotonic()
        training = self._trainings[name] = _Training(event.total, event.step, now, now)
        taken_up = f", taken up at step {event.step}" if event.step else ""
        if self.style == "text":
            self.console.print(f"{name}: {event.total} steps{taken_up}")
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("loss {task.fields[loss]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        training.task = self._progress.add_task(name, total=event.total, completed=event.step, loss="-")

    def _step(self, name: str, event: Stepped) -> None:
        training, loss = self._trainings.get(name), show_value(event.loss)
        if training is None:
            return
        now = time.monotonic()
        if self._progress is not None and training.task is not None:
            self._progress.update(training.task, completed=event.step, loss=loss)
        elif now - training.said_at > TEXT_EVERY_S:
            training.said_at = now
            done = event.step - training.started_step
            left = (now - training.started_at) / max(1, done) * (training.total - event.step)
            self.console.print(f"{name}: step {event.step}/{training.total}  loss {loss}  {duration(left)} left")

    def _ended(self, name: str) -> None:
        """Takes a training's bar away, and with the last one the display."""
        training = self._trainings.pop(name, None)
        if self._progress is not None and training is not None and training.task is not None:
            self._progress.remove_task(training.task)
        if not self._trainings:
            self.close()

    def close(self) -> None:
        self._trainings.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _in_words(measured: Measurement) -> str:
    if measured.status == "diverged":
        return f"diverged at step {measured.diverged_at_step}"
    figures = {} if measured.loss is None else {"loss": measured.loss}
    figures |= measured.quality.figures if measured.quality else {}
    parts = [f"{figure.replace('_', ' ')} {value:.4g}" for figure, value in figures.items()]
    step = measured.step_time_ms
    return f"{', '.join(parts)}, {step.median if step else 0:.0f} ms a step, {duration(measured.wall_s)}"
