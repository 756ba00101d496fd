"""A candidate: one backbone with the task, the objective and the blueprint that a trial needs."""

from dataclasses import dataclass

from torch import nn

from bakeoff.models.build import Blueprint
from bakeoff.models.trunk import Frame
from bakeoff.objectives import Generator, Objective, build_objective
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.registry import load_plugins
from bakeoff.tasks import Task, build_task


@dataclass(frozen=True)
class Candidate:
    """A backbone to train, with its task, objective and blueprint.

    Attributes:
        protocol: with this backbone's own objective and sampling; `task.protocol` is the whole run's.
    """

    protocol: Protocol
    task: Task
    objective: Objective
    backbone: Backbone
    blueprint: Blueprint

    def generator(self, model: nn.Module) -> Generator:
        """The trained model, ready to make items."""
        return Generator(self.objective, self.task.space, model)


def candidate_of(task: Task, backbone: Backbone) -> Candidate:
    """The candidate of one backbone of the task's protocol.

    Raises:
        BakeoffError: the objective cannot serve the task's tokens, or a plug-in is not allowed or cannot be loaded.
    """
    protocol = task.protocol.of(backbone)
    load_plugins(protocol.plugins)
    objective, model = build_objective(protocol), protocol.model
    frame = Frame(
        task.space,
        model.d_model,
        model.positions,
        model.conditioning,
        objective.out(task.space),
        objective.times,
        objective.symbols,
        model.norm,
        model.bottleneck,
        model.class_tokens,
        model.class_tokens_at,
    )
    blueprint = Blueprint(protocol, backbone, frame, objective.causal, lambda: task.encoder(model.d_model, backbone))
    return Candidate(protocol, task, objective, backbone, blueprint)


def candidates(protocol: Protocol) -> list[Candidate]:
    """All candidates of a protocol; they share one task."""
    task = build_task(protocol)
    return [candidate_of(task, backbone) for backbone in protocol.backbones]
