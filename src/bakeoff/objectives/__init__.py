"""Objectives: what a model is trained for and how items are made with it."""

from bakeoff.objectives.base import Draws, Floor, Objective
from bakeoff.objectives.generate import Generated, Generator
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.registry import OBJECTIVES


def build_objective(protocol: Protocol, candidate: Backbone | None = None) -> Objective:
    """The protocol's objective, or the candidate's own."""
    training = protocol.training
    return OBJECTIVES.get("flow")(training.times, training.label_dropout)


__all__ = ["Draws", "Floor", "Generated", "Generator", "Objective", "build_objective"]
