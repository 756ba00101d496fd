"""Estimates what a run takes on this machine: time, memory, and room on the disk."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch, stand_in
from bakeoff.models.matching import Fit
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.space import Space
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.disk import FLOAT_BYTES, RESERVE, free_bytes, mib
from bakeoff.seeding import generator
from bakeoff.trial.path import PATH_ITEMS, PATH_STATES
from bakeoff.trial.plan import Plan, PlannedBackbone

PROBE_S = 0.25  # a probe that takes this long stops growing its batch
TRIAL_OVERHEAD_S = 6.0  # process start, data, judging


def estimate(plan: Plan, threads: int = 0) -> dict:
    """Rough time and memory of the run on this machine, from one small step of every backbone on noise.

    Time is scaled linearly from a batch of a few items as long as training's, on average. Memory is what that step
    keeps for its backward pass, scaled in the same way, plus weights, optimiser and the libraries.

    Args:
        threads: of the CPU; 0 leaves them as they are.
    """
    if threads:
        torch.set_num_threads(threads)
    protocol, task = plan.protocol, plan.task
    seconds, peak_mib, by_backbone = 0.0, 0.0, {}
    prompts = task.prompts(protocol.samples_drawn)
    length = protocol.task.trained or task.space.length
    batch = stand_in(replace(task.space, length=length), protocol.training.batch, generator("estimate"))
    for planned in plan.backbones:
        evaluated = prompts.items() * planned.candidate.objective.nfe(planned.candidate.protocol.sampling, prompts)
        step_s, forward_s, kept_bytes = _probe(planned, batch)
        forward_s *= task.space.length / length
        trial_s = TRIAL_OVERHEAD_S + protocol.total_steps * protocol.training.batch * step_s + evaluated * forward_s
        weights = 4 * (4 + (protocol.training.ema > 0)) * planned.fit.params
        memory_mib = (kept_bytes * protocol.training.batch + weights) / 2**20 + 350
        by_backbone[planned.backbone.name] = {
            "step_time_ms": round(1000 * step_s * protocol.training.batch, 1),
            "trial_s": round(trial_s, 1),
            "memory_mib": round(memory_mib),
        }
        seconds += trial_s * (len(protocol.to_try) + len(protocol.seeds))
        peak_mib = max(peak_mib, memory_mib)
    return {
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "trials": len(plan.backbones) * (len(protocol.to_try) + len(protocol.seeds)),
        "total_s": round(seconds, 1),
        "peak_memory_mib": round(peak_mib),
        "backbones": by_backbone,
    }


def _probe(planned: PlannedBackbone, whole: Batch) -> tuple[float, float, float]:
    """Seconds of a training step, seconds of a forward pass, bytes kept for backward; all per item."""
    torch.manual_seed(0)
    objective, model = planned.candidate.objective, planned.candidate.blueprint.build(planned.fit.widths)

    def step(count: int) -> Callable[[], None]:
        batch = whole.take(0, count)
        return lambda: objective.loss(model, batch, objective.draws(batch, generator("estimate"))).backward()

    step(1)()
    count, taken = 1, _seconds(step(1))
    while taken < PROBE_S / 2 and count < whole.items():
        count = min(2 * count, whole.items())
        taken = _seconds(step(count))
    with torch.no_grad():
        batch = whole.take(0, count)
        forward = _seconds(lambda: objective.loss(model, batch, objective.draws(batch, generator("estimate"))))
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        step(1)()
    owned = 4 * planned.fit.params
    return taken / count, forward / count, max(0.0, sum(kept.values()) - owned)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


LOG_BYTES = 24  # a loss in metrics.jsonl
CHECKPOINTS = 3  # the newest, the one before it, and the one being written


def kept_bytes(fit: Fit, protocol: Protocol, space: Space) -> int:
    """Upper bound of the bytes that one trial leaves: weights, samples and the path of some, log."""
    item = FLOAT_BYTES * (space.length * max(1, space.channels) + space.context * max(1, space.context_channels))
    items = protocol.samples_drawn + PATH_ITEMS * (PATH_STATES + 1)
    return FLOAT_BYTES * fit.params + item * items + LOG_BYTES * protocol.total_steps


def checkpoint_bytes(fit: Fit, protocol: Protocol) -> int:
    """Bytes of a checkpoint: weights, AdamW's two moments, the average if there is one, and the losses."""
    copies = 3 + (protocol.training.ema > 0)
    return FLOAT_BYTES * (copies * fit.params + protocol.total_steps)


def require_room_for(run: RunDir, plan: Plan) -> None:
    """Checks, before anything is written, that everything not done yet fits on the disk.

    Raises:
        BakeoffError: it does not fit; the message says what is needed and what is free.
    """
    protocol, fits = plan.protocol, {one.backbone.name: one.fit for one in plan.backbones}
    todo = [trial for trial in run.all_trials() if not trial.done]
    needed = sum(kept_bytes(fits[trial.backbone], protocol, plan.task.space) for trial in todo)
    needed += CHECKPOINTS * max((checkpoint_bytes(fits[trial.backbone], protocol) for trial in todo), default=0)
    held = sum(path.stat().st_size for trial in todo for path in trial.path.glob("*.ckpt"))
    free = free_bytes(run.path)
    if free is not None and free < needed - held + RESERVE:
        raise BakeoffError(
            f"{run.path}: {mib(free)} free on its disk, the run needs {mib(needed - held + RESERVE)} (weights, samples "
            "and checkpoints). Free some, or choose another --out."
        )
