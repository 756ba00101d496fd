"""The objectives: what the candidates are trained for."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of


class Flow(Section):
    """Flow matching: the velocity of a linear path from noise to data."""

    sampling: ClassVar[str] = "solver"  # how its items are made: a kind of that section

    kind: Literal["flow"] = "flow"
    prediction: Literal["velocity", "data"] = Field(default="velocity", description="what the model gives")
    loss_space: Literal["velocity", "data"] = Field(
        default="velocity",
        description="whose squared error is the loss; the velocity's is the data's by 1 / (1 - t)^2, cut off at "
        "1 / 0.05^2 where the model gives the data",
    )
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="how t is drawn")
    times_mean: float = Field(default=0.0, ge=-10, le=10, description="of logit(t), where it is logit-normal")
    times_std: float = Field(default=1.0, gt=0, le=10, description="of logit(t), where it is logit-normal")
    condition_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of items whose label and context are hidden, for guidance"
    )

    @model_validator(mode="after")
    def _normal(self) -> Self:
        if self.times == "uniform" and (self.times_mean, self.times_std) != (0.0, 1.0):
            raise ValueError('times_mean and times_std are of times = "logit-normal"; set it, or leave them out')
        return self

    @property
    def hides_prompts(self) -> bool:
        """Whether the models learn what to do where label and context are hidden."""
        return self.condition_dropout > 0


class Autoregressive(Section):
    """Each symbol, or each place's target, from the symbols up to there; every mixer reads only what came before."""

    sampling: ClassVar[str] = "decoding"
    hides_prompts: ClassVar[bool] = False

    kind: Literal["autoregressive"]


class PlugInObjective(PlugIn):
    """An objective of the user's own."""

    sampling: ClassVar[None] = None
    hides_prompts: ClassVar[None] = None  # its class alone knows


Objective = Annotated[
    Annotated[Flow, Tag("flow")]
    | Annotated[Autoregressive, Tag("autoregressive")]
    | Annotated[PlugInObjective, Tag(PLUG_IN)],
    Discriminator(tag_of(["flow", "autoregressive"], "flow")),
]
