"""The objectives: what the candidates are trained for."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bakeoff.protocol.sections.base import PLUG_IN, PlugIn, Section, tag_of

Prediction = Literal["velocity", "epsilon", "data", "v"]
COUPLING = (
    "which noise goes with which item of a batch; ot: those that lie nearest, within equal labels (minibatch optimal "
    "transport)"
)


class Denoising(Section):
    """What flow and ddpm have in common."""

    sampling: ClassVar[str] = "solver"  # how its items are made: a kind of that section
    idle: ClassVar[tuple[str, ...]] = ()  # keys of that section that change nothing
    noisy: ClassVar[bool] = True  # whether a sampler may draw noise on the way

    condition_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of items whose label and context are hidden, for guidance"
    )
    coupling: Literal["independent", "ot"] = Field(default="independent", description=COUPLING)

    @property
    def hides_prompts(self) -> bool:
        """Whether the models learn what to do where label and context are hidden."""
        return self.condition_dropout > 0


class Flow(Denoising):
    """Flow matching: the linear path from noise to data, x_t = (1 - t) noise + t data."""

    idle: ClassVar[tuple[str, ...]] = ("grid",)
    noisy: ClassVar[bool] = False

    kind: Literal["flow"] = "flow"
    prediction: Prediction = Field(
        default="velocity", description="what the model gives; velocity: data less noise; v: t noise - (1 - t) data"
    )
    loss_space: Prediction = Field(
        default="velocity",
        description="whose squared error is the loss; the velocity's is the data's by 1 / (1 - t)^2, cut off at "
        "1 / 0.05^2 where the model gives the data, and the noise's by 1 / t^2, cut off so where it gives the noise",
    )
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="how t is drawn")
    times_mean: float = Field(default=0.0, ge=-10, le=10, description="of logit(t), where it is logit-normal")
    times_std: float = Field(default=1.0, gt=0, le=10, description="of logit(t), where it is logit-normal")

    @model_validator(mode="after")
    def _normal(self) -> Self:
        if self.times == "uniform" and (self.times_mean, self.times_std) != (0.0, 1.0):
            raise ValueError('times_mean and times_std are of times = "logit-normal"; set it, or leave them out')
        return self


class Ddpm(Denoising):
    """Denoising diffusion: the variance-preserving path in 1000 steps, x_k = a_k data + s_k noise."""

    kind: Literal["ddpm"]
    betas: Literal["linear", "cosine"] = Field(
        default="linear", description="the noise of a step: linear: 1e-4 to 0.02 [Ho et al. 2020]; or cosine"
    )
    prediction: Prediction = Field(
        default="epsilon", description="what the model gives; epsilon: the noise; v: a_k noise - s_k data"
    )
    loss_space: Prediction = Field(
        default="epsilon", description="whose squared error is the loss; left out: that of the prediction"
    )

    @property
    def divides(self) -> str:
        """What is read off the network's answer by dividing by nearly nothing, and what to take instead; else empty."""
        if (self.betas, self.prediction) != ("cosine", "epsilon"):
            return ""
        return (
            'betas = "cosine" with prediction = "epsilon": at the first steps data are read off the noise by dividing '
            'by as little as 0.00005, so that a small error of the network ruins what few steps make; take "v", "data" '
            'or "velocity", or solver = "ancestral" with 1000 steps'
        )

    @model_validator(mode="before")
    @classmethod
    def _own_space(cls, given: Any) -> Any:
        """The loss is that of the prediction, unless another is asked for."""
        if isinstance(given, dict) and "prediction" in given and "loss_space" not in given:
            return {**given, "loss_space": given["prediction"]}
        return given


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
    | Annotated[Ddpm, Tag("ddpm")]
    | Annotated[Autoregressive, Tag("autoregressive")]
    | Annotated[PlugInObjective, Tag(PLUG_IN)],
    Discriminator(tag_of(["flow", "ddpm", "autoregressive"], "flow")),
]
