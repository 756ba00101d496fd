"""What a run will take on this machine: time, memory, and room on the disk."""

import time
from collections.abc import Callable

import torch

from bakeoff.artefacts.images import IMAGE_BYTES
from bakeoff.errors import BakeoffError
from bakeoff.models.matching import Fit
from bakeoff.objectives import flow_loss
from bakeoff.protocol.schema import Protocol
from bakeoff.run.directory import RunDir
from bakeoff.run.disk import FLOAT_BYTES, RESERVE, free_bytes, mib
from bakeoff.tasks import build_task
from bakeoff.tasks.digits import DigitsTask
from bakeoff.trial.plan import Plan, PlannedBackbone

PROBE_S = 0.25  # a probe this long stops growing its batch
TRIAL_OVERHEAD_S = 6.0  # process start, data, judging


def estimate(plan: Plan) -> dict:
    """Rough time and memory of the run on this machine, from one small step of every backbone on noise.

    Time is scaled linearly from a batch of a few samples; memory is what that step keeps for its backward
    pass, scaled likewise, on top of weights, optimiser and the libraries.
    """
    protocol, task = plan.protocol, build_task(plan.protocol)
    seconds, peak_mib, by_backbone = 0.0, 0.0, {}
    evaluations = 2 if protocol.sampling.guidance != 1.0 else 1
    order = 1 if protocol.sampling.solver == "euler" else 2
    sampled = max(protocol.bar.samples, protocol.sampling.count) * protocol.sampling.steps * evaluations * order
    for planned in plan.backbones:
        step_s, forward_s, kept_bytes = _probe(task, planned)
        trial_s = TRIAL_OVERHEAD_S + protocol.total_steps * protocol.training.batch * step_s + sampled * forward_s
        weights = 4 * (4 + (protocol.training.ema > 0)) * planned.fit.params
        memory_mib = (kept_bytes * protocol.training.batch + weights) / 2**20 + 350
        by_backbone[planned.backbone.name] = {
            "step_time_ms": round(1000 * step_s * protocol.training.batch, 1),
            "trial_s": round(trial_s, 1),
            "memory_mib": round(memory_mib),
        }
        seconds += trial_s * len(protocol.seeds)
        peak_mib = max(peak_mib, memory_mib)
    return {
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "total_s": round(seconds, 1),
        "peak_memory_mib": round(peak_mib),
        "backbones": by_backbone,
    }


def _probe(task: DigitsTask, planned: PlannedBackbone) -> tuple[float, float, float]:
    """Seconds of a training step, seconds of a forward pass, bytes kept for backward; all per sample."""
    torch.manual_seed(0)
    model = task.build(planned.backbone, planned.fit.widths)

    def step(batch: int) -> Callable[[], None]:
        x_BLC = torch.randn(batch, task.frame.tokens, task.frame.channels)
        t_B = torch.rand(batch)
        labels_B = torch.zeros(batch, dtype=torch.long) if task.classes else None
        return lambda: flow_loss(model, x_BLC, torch.randn_like(x_BLC), t_B, labels_B).backward()

    step(1)()
    batch, taken = 1, _seconds(step(1))
    while taken < PROBE_S / 2 and batch < task.protocol.training.batch:
        batch *= 2
        taken = _seconds(step(batch))
    with torch.no_grad():
        forward = _seconds(lambda: model(torch.randn(batch, task.frame.tokens, task.frame.channels), torch.rand(batch)))
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        step(1)()
    owned = 4 * planned.fit.params
    return taken / batch, forward / batch, max(0.0, sum(kept.values()) - owned)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


LOG_BYTES = 24  # a loss in metrics.jsonl
CHECKPOINTS = 3  # the newest, the one before it, and the one being written


def kept_bytes(fit: Fit, protocol: Protocol) -> int:
    """What one trial leaves: weights, samples, log; an upper bound."""
    return FLOAT_BYTES * fit.params + IMAGE_BYTES * protocol.samples_drawn + LOG_BYTES * protocol.total_steps


def checkpoint_bytes(fit: Fit, protocol: Protocol) -> int:
    """Weights, AdamW's two moments, the average where there is one, and the losses."""
    copies = 3 + (protocol.training.ema > 0)
    return FLOAT_BYTES * (copies * fit.params + protocol.total_steps)


def require_room_for(run: RunDir, plan: Plan) -> None:
    """Before anything is written: what is not done yet must fit.

    Raises:
        BakeoffError: with what is needed and what is free.
    """
    protocol, fits = plan.protocol, {one.backbone.name: one.fit for one in plan.backbones}
    todo = [trial for trial in run.trials() if not trial.done]
    needed = sum(kept_bytes(fits[trial.backbone], protocol) for trial in todo)
    needed += CHECKPOINTS * max((checkpoint_bytes(fits[trial.backbone], protocol) for trial in todo), default=0)
    held = sum(path.stat().st_size for trial in todo for path in trial.path.glob("*.ckpt"))
    free = free_bytes(run.path)
    if free is not None and free < needed - held + RESERVE:
        raise BakeoffError(
            f"{run.path}: {mib(free)} free on its disk, the run needs {mib(needed - held + RESERVE)} (weights, samples "
            "and checkpoints). Free some, or choose another --out."
        )
