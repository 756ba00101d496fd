"""The rule: margins of the decision, and what counts as shown."""

from typing import Literal

from pydantic import Field

from bakeoff.protocol.sections.base import Section


class Rule(Section):
    """Margins of the decision, and what counts as shown."""

    evidence: Literal["point", "seeds"] = Field(
        default="point",
        description="seeds: every comparison must hold against the spread over seeds; point: means as they stand, "
        "marked indicative. A file that leaves it out means seeds where there are two or more",
    )
    pairing: Literal["paired", "unpaired"] = Field(
        default="paired", description="t-intervals on per-seed differences, or on means (Welch)"
    )
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1, description="of intervals; 1 - confidence is the level of tests"
    )
    sigma: float = Field(
        default=0.008,
        gt=0,
        le=1,
        description="expected spread over seeds of the difference of two backbones' log losses (mnist-quick: 0.004 to "
        "0.008); the plan states the power that follows, no decision reads it",
    )
    loss_margin: float = Field(default=0.10, ge=0, le=1, description="within this of the best loss: quality-equivalent")
    speed_margin: float = Field(default=0.05, ge=0, le=1, description="the fastest must lead by more than this")
