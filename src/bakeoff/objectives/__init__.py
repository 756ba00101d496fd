"""Objectives: what a model is trained for, and how it makes items."""

from bakeoff.objectives.base import Draws, Floor, Objective
from bakeoff.objectives.generate import Generated, Generator
from bakeoff.protocol.schema import Protocol
from bakeoff.registry import OBJECTIVES


def build_objective(protocol: Protocol) -> Objective:
    """Builds the objective of a protocol from the options of its section."""
    section = protocol.objective
    return OBJECTIVES.get(section.kind)(**section.model_dump(exclude={"kind"}))


__all__ = ["Draws", "Floor", "Generated", "Generator", "Objective", "build_objective"]
