"""The objectives: what the candidates are trained for."""

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of


class Flow(Section):
    """Flow matching: the velocity of a linear path from noise to data."""

    kind: Literal["flow"] = "flow"
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="how t is drawn")
    condition_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of items whose label and context are hidden, for guidance"
    )

    @property
    def hides_prompts(self) -> bool:
        """Whether the models learn what to do where label and context are hidden."""
        return self.condition_dropout > 0


class PlugInObjective(PlugIn):
    """An objective of the user's own."""

    hides_prompts: ClassVar[None] = None  # its class alone knows


Objective = Annotated[
    Annotated[Flow, Tag("flow")] | Annotated[PlugInObjective, Tag(PLUG_IN)], Discriminator(tag_of(["flow"], "flow"))
]
