"""The rule: what is compared, by how much it must differ, and what counts as shown."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import COSTS, Figure, find_figure
from bakeoff.protocol.sections.base import Section


class Rule(Section):
    """What is compared, margins of the decision, and what counts as shown."""

    evidence: Literal["point", "seeds"] = Field(
        default="point",
        description="seeds: every comparison must hold against the spread over seeds; point: means as they stand, "
        "marked indicative. A protocol that leaves it out means seeds where there are two or more",
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
        le=1e6,
        description="expected spread over seeds of the difference of two backbones in `quality`: of its logarithms "
        "where `scale` is ratio, else in its own unit (log losses of mnist-quick: 0.009 to 0.037); the plan states the "
        "power that follows, no decision reads it",
    )
    quality: str = Field(default="loss", description="the figure that decides: the loss, or a figure of the task")
    scale: Literal["ratio", "difference"] = Field(
        default="ratio", description="how its values are compared; a share of items by difference"
    )
    quality_margin: float = Field(
        default=0.10,
        ge=0,
        le=1e6,
        description="within this of the best: quality-equivalent. A share of the best where `scale` is ratio, else in "
        "the figure's own unit",
    )
    cost: str = Field(default="step_time_ms", description=f"the cost that decides then: {', '.join(COSTS)}")
    cost_margin: float = Field(default=0.05, ge=0, le=1, description="the cheapest must lead by more than this share")
    tie_break: str = Field(default="peak_memory_mib", description="the cost that breaks ties of quality and cost")
    against: str | None = Field(
        default=None,
        description="a backbone that all others are compared with, instead of all pairs; names no winner",
    )
    groups: Literal["objective"] | None = Field(
        default=None, description="decide within each group of backbones that share an objective"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("quality_margin", "sigma"):
            if self.scale == "ratio" and (value := getattr(self, name)) > 1:
                raise ValueError(f'{name} = {value:g}; allowed with scale = "ratio": 0 to 1')
        if self.against is not None and self.groups is not None:
            raise ValueError("against and groups exclude each other: a reference stands in one group only; give one")
        for name in ("cost", "tie_break"):
            find_figure(getattr(self, name), COSTS, name)
        return self

    def over(self, seeds: int) -> Self:
        """The rule that decides over so many seeds: left out, its evidence is "seeds" where there are two or more."""
        if "evidence" in self.model_fields_set:
            return self
        return self.model_copy(update={"evidence": "seeds" if seeds > 1 else "point"})

    def check_quality(self, figures: Mapping[str, Figure]) -> None:
        """Raises BakeoffError where the figure that decides is unknown, has no direction or does not fit the scale."""
        allowed = [name for name, one in figures.items() if one.better is not None]
        find_figure(self.quality, allowed, "rule.quality")
        chosen = figures[self.quality]
        if self.scale == "ratio" and chosen.share:
            raise BakeoffError(
                f"rule.quality = {self.quality}: a share of items has no meaningful ratio near zero; set rule.scale = "
                '"difference" and rule.quality_margin in shares, such as 0.02.'
            )
        if self.scale == "ratio" and (chosen.low is None or chosen.low < 0):
            raise BakeoffError(
                f"rule.quality = {self.quality}: it may be negative, and a ratio needs numbers above zero; set "
                'rule.scale = "difference".'
            )
