"""The objectives: what the candidates are trained for."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of


class Flow(Section):
    """Flow matching: the velocity of a linear path from noise to data."""

    kind: Literal["flow"] = "flow"
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="how t is drawn")
    condition_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of items whose label and context are hidden, for guidance"
    )


Objective = Annotated[
    Annotated[Flow, Tag("flow")] | Annotated[PlugIn, Tag(PLUG_IN)], Discriminator(tag_of(["flow"], "flow"))
]
