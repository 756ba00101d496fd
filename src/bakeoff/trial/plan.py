"""The plan: matched widths, counts and costs of every backbone, before anything is trained."""

import os
from dataclasses import dataclass

import torch
from torch import nn

from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import elastic, mixer_class
from bakeoff.models.costs import unstated, width_name_of
from bakeoff.models.matching import Fit, check_match
from bakeoff.protocol.figures import LOSS
from bakeoff.protocol.lint import Counts, LintFinding, RealDraws, lint
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.tasks import Task, build_task
from bakeoff.trial.candidate import Candidate, candidate_of

FLOAT_BYTES = 4


@dataclass(frozen=True)
class PlannedBackbone:
    """One backbone as it will be trained, with the figures at the literature's widths beside it."""

    candidate: Candidate
    fit: Fit
    flops_per_sample: int
    state_bytes: int
    nominal_widths: dict[str, int]
    nominal_params: int

    @property
    def backbone(self) -> Backbone:
        return self.candidate.backbone

    @property
    def knob(self) -> tuple[str, float]:
        """What the matcher changed: the one elastic width by its name, or the factor common to several."""
        names = elastic(self.backbone.names, self._kinds)
        if len(names) == 1:
            return width_name_of(self._mixer(names[0])) or names[0], self.fit.widths[names[0]]
        return ("factor" if names else "none"), round(self.fit.factor, 4)

    @property
    def measured(self) -> tuple[str, ...]:
        """Costs that were measured because some mixer does not state them."""
        return tuple(sorted({cost for name in self.backbone.names for cost in unstated(self._mixer(name))}))

    @property
    def _kinds(self) -> dict[str, str]:
        return self.candidate.protocol.mixers.kinds

    def _mixer(self, name: str) -> type[nn.Module]:
        return mixer_class(self._kinds.get(name, name))


@dataclass(frozen=True)
class Plan:
    protocol: Protocol
    task: Task
    backbones: tuple[PlannedBackbone, ...]

    @property
    def tokens(self) -> int:
        """Tokens of an item that the mixers read, its context included."""
        return self.backbones[0].candidate.blueprint.frame.tokens

    def of(self, name: str) -> PlannedBackbone:
        """The planned backbone of this name. Raises KeyError if the protocol does not have it."""
        return {planned.backbone.name: planned for planned in self.backbones}[name]


def make_plan(protocol: Protocol) -> Plan:
    """Matches every backbone to the budget.

    Raises:
        BakeoffError: the counts cannot be brought within the tolerance, or an objective cannot serve the task.
    """
    task = build_task(protocol)
    figures = {one.name: one for one in task.figures}
    protocol.bar.check_thresholds(figures)
    protocol.rule.check_quality({"loss": LOSS, **figures})
    planned = tuple(_planned(candidate_of(task, backbone)) for backbone in protocol.backbones)
    check_match([one.fit for one in planned], protocol.budget.params, protocol.budget.tolerance)
    return Plan(protocol, task, planned)


def _planned(candidate: Candidate) -> PlannedBackbone:
    blueprint = candidate.blueprint
    fit, nominal = blueprint.fit(), blueprint.nominal()
    if (needed := FLOAT_BYTES * fit.params) > (memory := memory_bytes()):
        raise BakeoffError(
            f"backbone {candidate.backbone.name}: {fit.params:,} parameters are {needed / 2**30:,.0f} GiB of weights; "
            f"this machine has {memory / 2**30:,.0f} GiB of memory. Lower budget.params, model.d_model or repeats."
        )
    model = blueprint.build(fit.widths)
    return PlannedBackbone(candidate, fit, model.flops(), model.state_bytes(), nominal, blueprint.count(nominal))


def lint_plan(plan: Plan) -> list[LintFinding]:
    """Checks whether the comparison is matched and whether the rule can decide; see `bakeoff.protocol.lint`."""
    protocol, groups = plan.protocol, plan.protocol.groups()
    counts = {
        one.backbone.name: Counts(one.fit.params, plan.tokens, one.flops_per_sample, groups[one.backbone.name])
        for one in plan.backbones
    }
    figures = {"loss": LOSS, **{one.name: one for one in plan.task.figures}}
    found = lint(protocol, counts, real_draws(plan.task), figures, items=protocol.bar.samples)
    if plan.task.calibrated and protocol.bar.thresholds and plan.task.calibration() is None:
        message = f"not calibrated on this machine: run `bakeoff calibrate {protocol.name}` first"
        found.append(LintFinding("quality bar", "error", message))
    if why := plan.task.missing():
        found.append(LintFinding("data", "error", why))
    elif plan.protocol.to_try and plan.task.data(torch.device("cpu"), split="valid") is None:
        message = f"task {protocol.task.kind} keeps no items out of training, and a sweep chooses by the loss on those"
        found.append(LintFinding("sweep", "error", message))
    return found


def _sweep_json(protocol: Protocol) -> dict:
    """The trials with which the run begins, if it does."""
    sweep = protocol.sweep
    trials = [
        {"backbone": one.name, sweep.name: value, "seed": seed, "folder": sweep.folder(one.name, value, seed)}
        for value, seed in protocol.to_try
        for one in protocol.backbones
        if sweep is not None
    ]
    return {"sweep": trials} if trials else {}


def real_draws(task: Task) -> list[RealDraws]:
    """The task's figures on real items, from its calibration."""
    calibration = task.calibration()
    of_real = {} if calibration is None else calibration.of("real")
    return [RealDraws(count, real) for count, real in of_real.items()]


def refuse_errors(findings: list[LintFinding]) -> None:
    """Raises BakeoffError for a plan that cannot decide its question."""
    errors = [f"  {one.check}: {one.message}" for one in findings if one.level == "error"]
    if errors:
        raise BakeoffError("this plan cannot decide what it is asked:\n" + "\n".join(errors))


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def plan_json(plan: Plan, estimated: dict | None) -> dict:
    """The plan as plain values, for scripts."""
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
        **_sweep_json(plan.protocol),
        "kind": plan.task.kind,
        "figures": [one.to_json() for one in plan.task.figures],
        "steps_per_trial": plan.protocol.total_steps,
        "lint": [finding._asdict() for finding in lint_plan(plan)],
        "estimate": estimated,
    }
