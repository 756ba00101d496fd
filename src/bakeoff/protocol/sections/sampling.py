"""How every candidate is sampled."""

from typing import Literal

from pydantic import Field

from bakeoff.protocol.sections.base import Section


class Sampling(Section):
    """How every backbone is sampled."""

    steps: int = Field(default=10, ge=1, le=1000)
    solver: Literal["euler", "midpoint", "heun"] = "euler"
    guidance: float = Field(default=1.0, ge=0, le=20, description="classifier-free guidance weight; 1 is none")
    count: int = Field(default=64, ge=1, le=1024, description="samples shown in the grid")
