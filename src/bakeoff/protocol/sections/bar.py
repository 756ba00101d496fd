"""The quality bar."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import Figure, find_figure
from bakeoff.protocol.sections.base import Section


class Bar(Section):
    """The quality bar: all thresholds together, on a fixed number of samples; or what people say of them."""

    measure: Literal["automatic", "human"] = Field(
        default="automatic",
        description="what decides the bar: the thresholds, or people who judge blind, for whose votes the verdict then "
        "waits; the other one is shown and decides nothing",
    )
    clean: float = Field(
        default=0.5, ge=0, le=1, description="human: share of a trial's votes that say clean, at least; unsure is not"
    )
    votes: int = Field(default=4, ge=1, le=100_000, description="human: votes that a trial needs, at least")
    samples: int = Field(default=256, ge=2, le=100_000, description="items that are assessed, of every trial")
    thresholds: dict[str, float] = Field(
        default={},
        description="[bar.thresholds]: a figure of the task and what it must reach: at least where higher is better, "
        "at most where lower is",
    )

    def check_thresholds(self, figures: Mapping[str, Figure]) -> None:
        """Raises BakeoffError for a threshold of no figure, of one that decides nothing, or beyond its bounds."""
        allowed = [name for name, one in figures.items() if one.better is not None and name != "loss"]
        for name, threshold in self.thresholds.items():
            where = f"bar.thresholds.{name}"
            if name in figures and figures[name].better is None:
                raise BakeoffError(f"{where}: {name} is reported and decides nothing; allowed: {', '.join(allowed)}.")
            find_figure(name, allowed, "bar.thresholds")
            figures[name].check(threshold, where)
