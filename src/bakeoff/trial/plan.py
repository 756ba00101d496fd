"""The plan: matched widths, counts and costs of every backbone, before anything is trained."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bakeoff.errors import BakeoffError
from bakeoff.flow import flow_loss
from bakeoff.models.backbones import elastic
from bakeoff.models.costs import unstated, width_name_of
from bakeoff.models.matching import Fit, check_match
from bakeoff.models.registry import mixer_class
from bakeoff.protocol.lint import Counts, Finding, lint
from bakeoff.protocol.schema import Backbone, Protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.digits import DigitsTask, real_draws

PROBE_S = 0.25  # a probe this long stops growing its batch
FLOAT_BYTES = 4
TRIAL_OVERHEAD_S = 6.0  # process start, data, judging


@dataclass(frozen=True)
class PlannedBackbone:
    """One backbone as it will be trained, beside what the literature's widths would give."""

    backbone: Backbone
    fit: Fit
    flops_per_sample: int
    state_bytes: int
    nominal_widths: dict[str, int]
    nominal_params: int

    @property
    def knob(self) -> tuple[str, float]:
        """What was turned: the one elastic width by its name, or the factor common to several."""
        kinds = elastic(self.backbone.layers)
        if len(kinds) == 1:
            return width_name_of(mixer_class(kinds[0])) or kinds[0], self.fit.widths[kinds[0]]
        return ("factor" if kinds else "none"), round(self.fit.factor, 4)

    @property
    def measured(self) -> tuple[str, ...]:
        """Costs that some mixer does not state, so that they were measured."""
        return tuple(sorted({cost for kind in self.backbone.layers for cost in unstated(mixer_class(kind))}))


@dataclass(frozen=True)
class Plan:
    protocol: Protocol
    tokens: int
    backbones: tuple[PlannedBackbone, ...]

    def widths(self, name: str) -> dict[str, int]:
        return next(planned.fit.widths for planned in self.backbones if planned.backbone.name == name)


def make_plan(protocol: Protocol) -> Plan:
    """Match every backbone to the budget.

    Raises:
        BakeoffError: the counts cannot be brought within the tolerance.
    """
    task = build_task(protocol)
    planned = tuple(_planned(task, backbone) for backbone in protocol.backbones)
    check_match([one.fit for one in planned], protocol.budget.params, protocol.budget.tolerance)
    return Plan(protocol, task.frame.tokens, planned)


def _planned(task: DigitsTask, backbone: Backbone) -> PlannedBackbone:
    fit, nominal = task.fit(backbone), task.nominal(backbone)
    if (needed := FLOAT_BYTES * fit.params) > (memory := memory_bytes()):
        raise BakeoffError(
            f"backbone {backbone.name}: {fit.params:,} parameters are {needed / 2**30:,.0f} GiB of weights; this "
            f"machine has {memory / 2**30:,.0f} GiB of memory. Lower budget.params, model.d_model or repeats."
        )
    model = task.build(backbone, fit.widths)
    return PlannedBackbone(backbone, fit, model.flops(), model.state_bytes(), nominal, task.count(backbone, nominal))


def lint_plan(plan: Plan) -> list[Finding]:
    """Is the comparison matched, and can the rule decide? See `bakeoff.protocol.lint`."""
    counts = {one.backbone.name: Counts(one.fit.params, plan.tokens, one.flops_per_sample) for one in plan.backbones}
    return lint(plan.protocol, counts, real_draws())


def refuse_errors(findings: list[Finding]) -> None:
    """Raises BakeoffError for a plan that cannot decide what it is asked."""
    errors = [f"  {one.check}: {one.message}" for one in findings if one.level == "error"]
    if errors:
        raise BakeoffError("this plan cannot decide what it is asked:\n" + "\n".join(errors))


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def estimate(plan: Plan) -> dict:
    """Rough time and memory of the run on this machine, from one small step of every backbone on noise.

    Time is scaled linearly from a batch of a few samples; memory is what that step keeps for its backward
    pass, scaled likewise, on top of weights, optimiser and the libraries.
    """
    protocol, task = plan.protocol, build_task(plan.protocol)
    seconds, peak_mib, by_backbone = 0.0, 0.0, {}
    evaluations = 2 if protocol.sampling.guidance != 1.0 else 1
    order = 1 if protocol.sampling.solver == "euler" else 2
    sampled = max(protocol.judge.samples, protocol.sampling.count) * protocol.sampling.steps * evaluations * order
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


def plan_json(plan: Plan, estimated: dict | None) -> dict:
    """The plan as others script against it."""
    return {
        "protocol": plan.protocol.name,
        "digest": plan.protocol.digest(),
        "tokens": plan.tokens,
        "backbones": [
            {
                "name": one.backbone.name,
                "params": one.fit.params,
                "knob": {"name": one.knob[0], "value": one.knob[1]},
                "widths": one.fit.widths,
                "flops_per_sample": one.flops_per_sample,
                "state_bytes": one.state_bytes,
                "measured": list(one.measured),
                "layers": list(one.backbone.layers),
                "nominal": {"widths": one.nominal_widths, "params": one.nominal_params},
            }
            for one in plan.backbones
        ],
        "trials": [
            {"backbone": backbone.name, "seed": seed}
            for seed in plan.protocol.seeds
            for backbone in plan.protocol.backbones
        ],
        "steps_per_trial": plan.protocol.total_steps,
        "lint": [finding._asdict() for finding in lint_plan(plan)],
        "estimate": estimated,
    }
