"""The quality bar."""

from typing import Literal

from pydantic import Field

from bakeoff.protocol.sections.base import Section
from bakeoff.protocol.sections.tasks import DIGIT_CLASSES


class Judge(Section):
    """The quality bar: all three thresholds together, on a fixed number of samples; or what people say of them."""

    measure: Literal["automatic", "human"] = Field(
        default="automatic",
        description="what decides the bar: the automatic judge's thresholds, or people who judge blind, for whose "
        "votes the verdict then waits; the other one is shown and decides nothing",
    )
    clean: float = Field(
        default=0.5, ge=0, le=1, description="human: share of a trial's votes that say clean, at least; unsure is not"
    )
    votes: int = Field(default=4, ge=1, le=100_000, description="human: votes that a trial needs, at least")
    samples: int = Field(default=256, ge=2, le=100_000)
    recognised: float = Field(
        default=0.80, ge=0, le=1, description="share that is a digit with confidence > 0.9, at least"
    )
    classes: int = Field(
        default=8, ge=0, le=DIGIT_CLASSES, description="digits that make up at least 1 % each, at least"
    )
    frechet: float = Field(ge=0, description="Frechet distance to real digits in the judge's features, at most")
