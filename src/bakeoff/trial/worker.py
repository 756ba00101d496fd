"""The process of one trial: trains, samples, judges, and writes the trial's files.

`bakeoff.execute.runner` starts it as `python -m bakeoff.trial.worker`. On SIGTERM, or when its parent dies, it stops
after the current steps and writes a checkpoint.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

from bakeoff.artefacts.base import pack_path
from bakeoff.artefacts.sheets import png
from bakeoff.protocol.figures import HELD_OUT
from bakeoff.protocol.measurement import Measurement, Quality, Spread, with_figures
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.disk import require_room
from bakeoff.rundir.files import make_folder, write_atomic, write_json
from bakeoff.trial import checkpoint, resume
from bakeoff.trial.events import Damaged, Sampling, Started, Stepped, Stopped, say
from bakeoff.trial.held_out import held_out
from bakeoff.trial.meters import peak_memory, spread, trend
from bakeoff.trial.path import path_of
from bakeoff.trial.plan import make_plan
from bakeoff.trial.process import STOPPED, parser, serve
from bakeoff.trial.trainer import REPORT_STEPS, Trainer

LOOP = ("forward and backward", "optimiser", "data", "reading losses")
ACCOUNTED = 0.10  # largest share of the wall-clock that may be unexplained


class Stop:
    """Whether the trial has been asked to stop."""

    def __init__(self, parent: int) -> None:
        self.asked, self.parent = False, parent
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets the terminal's Ctrl-C and asks us to stop

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __call__(self) -> bool:
        return self.asked or os.getppid() != self.parent


class MetricsLog:
    """Per-step losses as JSON lines, for those who watch the run.

    The checkpoint holds the losses too. When training begins, resumes or ends, the log is written again from them, so
    damage to the log does no harm and an interrupted trial ends with the same file.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        self.path, self.trainer = path, trainer
        self.rewrite()
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def rewrite(self) -> None:
        losses = self.trainer.losses[: self.trainer.step].tolist()
        parts = [losses[first : first + REPORT_STEPS] for first in range(0, len(losses), REPORT_STEPS)]
        steps = [min((i + 1) * REPORT_STEPS, len(losses)) for i in range(len(parts))]
        write_atomic(self.path, b"".join(map(self._line, steps, parts)))

    def add(self, step: int, losses: list[float]) -> None:
        self._file.write(self._line(step, losses))

    def _line(self, step: int, losses: list[float]) -> bytes:
        record = {"step": step, "lr": self.trainer.learning_rate(step - 1), "losses": [_number(one) for one in losses]}
        return (json.dumps(record) + "\n").encode()


def _number(loss: float) -> float | str:
    """The loss as a JSON value: JSON has no NaN or infinity, so these are given by name."""
    return loss if math.isfinite(loss) else repr(loss)


def train(trainer: Trainer, trial: TrialDir, of: str, stop: Stop, clock: "WallClock", every_s: float) -> bool:
    """Trains with a log and checkpoints that carry the trial's identity; returns False if stopped before the end."""
    log = MetricsLog(trial.metrics, trainer)
    saved_at, saved_step = time.monotonic(), None

    def save() -> None:
        nonlocal saved_at, saved_step
        if saved_step == trainer.step:  # saving the same step twice would drop the checkpoint before it
            return
        with trainer.watch("checkpoints"):
            state = {"trainer": trainer.state(), "wall_s": clock.seconds(), "resumed": clock.resumed, "of": of}
            content = checkpoint.pack_state(state)
            require_room(trial.resume, len(content))
            write_atomic(trial.resume, content, keep=trial.previous)
        saved_at, saved_step = time.monotonic(), trainer.step

    def report(step: int, losses: list[float]) -> None:
        log.add(step, losses)
        say(Stepped(step, _number(losses[-1])))
        if time.monotonic() - saved_at > every_s:
            save()

    over = trainer.run(report, stop)
    save()
    if over:
        log.rewrite()
    return over


def finish(
    trainer: Trainer, trial: TrialDir, clock: "WallClock", widths: dict[str, int], data_dir: Path | None = None
) -> Measurement:
    """Samples and judges the trained model, writes its files, and measures all of this."""
    completed = trainer.diverged_at is None
    sampled = _sample_and_judge(trainer, trial, widths, data_dir) if completed else None
    drift = trend(trainer.recent_losses(), trainer.epoch_steps) if completed else None
    step_time, accounted, wall_s = spread(trainer.times_ms), trainer.watch.seconds, clock.seconds()
    return Measurement(
        backbone=trial.backbone,
        seed=trial.seed,
        swept=trial.value,
        status="completed" if completed else "diverged",
        diverged_at_step=trainer.diverged_at,
        steps=trainer.step,
        loss=trainer.final_loss() if completed else None,
        loss_slope_per_epoch=drift[0] if drift else None,
        loss_slope_stderr=drift[1] if drift else None,
        still_moving=drift[0] < -2 * drift[1] if drift else None,
        quality=sampled.quality if sampled else None,
        step_time_ms=step_time,
        sampling_time_s=sampled.seconds if sampled else None,
        nfe=sampled.nfe if sampled else None,
        memory=peak_memory(trainer.device),
        wall_s=wall_s,
        accounted_s={activity: round(seconds, 4) for activity, seconds in accounted.items()},
        params=trainer.model.parameter_count(),
        flops_per_sample=trainer.model.flops(),
        state_bytes=trainer.model.state_bytes(),
        device=str(trainer.device),
        precision=trainer.protocol.training.precision,
        threads=torch.get_num_threads(),
        resumed=clock.resumed,
        notes=account(step_time, trainer.step, accounted, wall_s, trainer.device.type)
        + (sampled.notes if sampled else ()),
    )


class Sampled(NamedTuple):
    quality: Quality
    seconds: float
    nfe: int
    notes: tuple[str, ...]  # why the sampler was not captured as a CUDA graph, or does not go on token by token


def _sample_and_judge(trainer: Trainer, trial: TrialDir, widths: dict[str, int], data_dir: Path | None) -> Sampled:
    candidate, protocol, model, watch = trainer.candidate, trainer.protocol, trainer.model, trainer.watch
    task = candidate.task
    trainer.use_average()
    generator, prompts = candidate.generator(model), task.prompts(protocol.samples_drawn)
    say(Sampling())
    with watch("sampling"):
        before = time.perf_counter()
        generated = generator(prompts, protocol.sampling, trial.seed)
        items = task.items(generated.x, prompts)
        seconds = time.perf_counter() - before
    with watch("judging"):
        judged = protocol.bar.samples
        quality = task.assess(items.take(0, judged), prompts.take(0, judged))
    if HELD_OUT in task.figures or trial.tries is not None:
        with watch("held-out loss"):
            valid = task.data(trainer.device, data_dir, split="valid")
            assert valid is not None  # the figure says that there is one, or the lint of a plan with a sweep
            quality = with_figures(quality, held_out(candidate.objective, model, valid))
    with watch("path"):
        path = path_of(task, generator, protocol.sampling, trial.seed)
    with watch("writing files"):
        kind = trial.run.kind
        write_atomic(trial.samples, kind.pack(items))
        write_atomic(trial.states, pack_path(kind, path))
        write_atomic(trial.grid, png(kind.sheet(items.take(0, protocol.sampling.count))))
        checkpoint.save_model(trial.model, model.state_dict(), task.protocol, trial.backbone, widths)
    notes = tuple(filter(None, (generator.captured.why_not, generator.why_anew(prompts))))
    return Sampled(quality, seconds, generated.nfe, notes)


def account(
    step_time: Spread | None, steps: int, accounted: dict[str, float], wall_s: float, device: str
) -> tuple[str, ...]:
    """Reports if step time x steps plus the other accounted time differs from the wall-clock.

    A GPU works while the host runs ahead, and the host waits for it wherever it next needs a value. So on a GPU the
    times of all of `LOOP` are taken together, and the device's own time of the optimiser is added.
    """
    if step_time is None:
        return ()
    training = LOOP if device == "cuda" else LOOP[:1]
    rest = sum(seconds for activity, seconds in accounted.items() if activity not in training)
    explained = step_time.median / 1000 * steps + rest
    if abs(wall_s - explained) <= ACCOUNTED * wall_s:
        return ()
    return (
        f"step time x steps + accounted rest = {step_time.median:.1f} ms x {steps} + {rest:.1f} s = {explained:.1f} s, "
        f"but the wall-clock says {wall_s:.1f} s: the step time of the last {step_time.count} steps is not that of "
        "the whole training, or the machine was busy with something else",
    )


class WallClock:
    """Wall-clock of a trial over all its processes, without the time during which it was stopped."""

    def __init__(self, launched: float) -> None:
        self.launched, self.before, self.resumed = launched, 0.0, 0

    def seconds(self) -> float:
        return self.before + time.time() - self.launched


def run_trial(run: RunDir, trial: TrialDir, options: argparse.Namespace) -> int:
    stop, clock, of = Stop(options.parent), WallClock(options.launched), resume.identity(run, trial)
    device = torch.device(options.device)
    planned = make_plan(trial.protocol).of(trial.backbone)
    candidate, widths = planned.candidate, planned.fit.widths
    make_folder(trial.path)
    data = candidate.task.data(device, options.data_dir)
    assert data is not None
    started_s = clock.seconds()
    trainer, taken_up = resume.resume_from_checkpoint(
        trial,
        of,
        lambda: Trainer(candidate, widths, trial.seed, data, device),
        lambda message: say(Damaged(message)),
    )
    if taken_up is not None:
        clock.before, clock.resumed = taken_up.wall_s, taken_up.resumed + 1
    trainer.watch.add("starting", started_s)
    say(Started(trainer.step, trainer.total))
    if not train(trainer, trial, of, stop, clock, options.checkpoint_every):
        say(Stopped(trainer.step))
        return STOPPED
    write_json(trial.measurement_file, finish(trainer, trial, clock, widths, options.data_dir))
    for checkpointed in (trial.resume, trial.previous):
        checkpointed.unlink(missing_ok=True)
    return 0


def work(run: RunDir, options: argparse.Namespace) -> int:
    backbone, seed = options.trial
    tries = options.tries
    trial = run.trial(backbone, int(seed)) if tries is None else run.sweep_trial(backbone, tries, int(seed))
    return run_trial(run, trial, options)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--trial", nargs=2, metavar=("BACKBONE", "SEED"), required=True)
    made.add_argument("--tries", type=float, metavar="VALUE", help="a trial of the sweep, with this value of its key")
    return serve(made.parse_args(), work)


if __name__ == "__main__":
    sys.exit(main())
