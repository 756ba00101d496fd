"""The protocol: one frozen, typed record of everything that decides a bake-off.

Two protocols with equal digests are the same experiment. Every field has its unit and meaning beside it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bakeoff.errors import did_you_mean, printable
from bakeoff.protocol import seal
from bakeoff.registry import MIXERS

IMAGE_SIDE = 28
TRAIN_IMAGES = 60_000
DIGIT_CLASSES = 10
OptionValue = bool | int | float | str


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(Section):
    """What is generated."""

    name: Literal["mnist"] = "mnist"
    conditional: bool = Field(default=True, description="generate a given digit (class-conditional) or any digit")
    train_images: int = Field(
        default=TRAIN_IMAGES,
        ge=1,
        le=TRAIN_IMAGES,
        description="first N of the training images; all of them by default",
    )


class PixelCodec(Section):
    """Tokens are square patches of pixels."""

    kind: Literal["pixel"]
    patch: int = Field(description="side of a patch in pixels; must divide 28")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.patch < 1 or IMAGE_SIDE % self.patch:
            raise ValueError(f"patch = {self.patch} does not divide {IMAGE_SIDE}; allowed: 1, 2, 4, 7, 14, 28")
        return self


class LatentCodec(Section):
    """Tokens are the 7x7 cells of a frozen autoencoder's latent, four values each."""

    kind: Literal["latent"]


class Model(Section):
    """The trunk that all backbones share."""

    d_model: int = Field(default=64, ge=8, le=4096, description="width of a token inside the trunk")
    order: Literal["raster", "reverse", "alternating", "bidirectional"] = Field(
        default="raster", description="order in which directional mixers read the tokens; alternating: layer by layer"
    )
    positions: Literal["none", "sinusoidal", "learned"] = "sinusoidal"
    conditioning: Literal["adaln", "head"] = Field(
        default="adaln", description="adaLN-zero in every residual branch, or time (and class) only in the head"
    )


class MambaOptions(Section):
    d_state: int = Field(default=16, ge=1, le=256, description="states per channel")
    d_conv: int = Field(default=4, ge=1, le=8, description="taps of the causal convolution")


class AttentionOptions(Section):
    heads: int = Field(default=4, ge=1, le=128, description="attention heads; must divide d_model")


class MlpOptions(Section):
    pass


class Mixers(Section):
    """Options of the mixers, the same wherever they stand; a plug-in's are handed to its constructor as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, dict[str, OptionValue]]  # pyright: ignore[reportIncompatibleVariableOverride]

    mamba: MambaOptions = MambaOptions()
    attention: AttentionOptions = AttentionOptions()
    mlp: MlpOptions = MlpOptions()


class Backbone(Section):
    """A named arrangement of mixers: `mixers`, repeated `repeats` times."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="lower case, digits, - and _")
    mixers: tuple[str, ...] = Field(min_length=1, max_length=64)
    repeats: int = Field(default=1, ge=1, le=256)

    @property
    def layers(self) -> tuple[str, ...]:
        return self.mixers * self.repeats


class Budget(Section):
    """The parameter count that every backbone is widened to."""

    params: int = Field(ge=1_000, le=10_000_000_000)
    tolerance: float = Field(default=1.10, ge=1.0, le=2.0, description="largest count over smallest, at most")


class Training(Section):
    """One recipe for all backbones."""

    optimiser: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    clip: float = Field(
        default=1.0, gt=0, description="largest norm of the gradient; larger ones are scaled down to it"
    )
    batch: int = Field(default=256, ge=1, le=65_536, description="images a step; the last, smaller batch is kept")
    epochs: int | None = Field(default=None, ge=1, le=100_000, description="give epochs or steps, not both")
    steps: int | None = Field(default=None, ge=1, le=100_000_000)
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, or autocast; fp16 with gradient scaling"
    )
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the averaged weights that are sampled; 0 is off")
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")
    times: Literal["uniform", "logit-normal"] = Field(default="uniform", description="how t is drawn")
    label_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of labels hidden, for guidance")

    @model_validator(mode="after")
    def _length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas}; allowed: each in [0, 1)")
        return self


class Sampling(Section):
    """How every backbone is sampled."""

    steps: int = Field(default=10, ge=1, le=1000)
    solver: Literal["euler", "midpoint", "heun"] = "euler"
    guidance: float = Field(default=1.0, ge=0, le=20, description="classifier-free guidance weight; 1 is none")
    count: int = Field(default=64, ge=1, le=1024, description="samples shown in the grid")


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


class Protocol(Section):
    """A whole bake-off, before the first step."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,60}$")
    description: str = Field(default="", max_length=2000)
    seeds: tuple[int, ...] = Field(min_length=1, max_length=1000)
    plugins: tuple[str, ...] = Field(
        default=(), max_length=64, description="modules to import that register mixers; needs --allow-plugins"
    )
    task: Task = Task()
    codec: Annotated[PixelCodec | LatentCodec, Field(discriminator="kind")]
    model: Model = Model()
    mixers: Mixers = Mixers.model_validate({})
    backbones: tuple[Backbone, ...] = Field(min_length=1, max_length=64)
    budget: Budget
    training: Training
    sampling: Sampling = Sampling()
    judge: Judge
    rule: Rule = Rule()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if printable(self.description) != self.description:
            raise ValueError("description: control characters are not allowed")
        names = [backbone.name for backbone in self.backbones]
        if len(set(names)) < len(names):
            raise ValueError(f"backbones: names must differ, given {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds) or not all(0 <= seed < 2**31 for seed in self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)}; allowed: different whole numbers in [0, 2^31)")
        self._check_mixers()
        if self.training.warmup >= self.total_steps:
            raise ValueError(
                f"training.warmup = {self.training.warmup}; allowed: less than the {self.total_steps} steps of training"
            )
        uses_attention = any("attention" in backbone.mixers for backbone in self.backbones)
        if uses_attention and self.model.d_model % self.mixers.attention.heads:
            raise ValueError(
                f"mixers.attention.heads = {self.mixers.attention.heads} does not divide "
                f"model.d_model = {self.model.d_model}"
            )
        if not self.task.conditional and (self.training.label_dropout or self.sampling.guidance != 1.0):
            raise ValueError(
                "training.label_dropout and sampling.guidance need labels; "
                "set task.conditional = true, or label_dropout = 0 and guidance = 1"
            )
        if self.sampling.guidance != 1.0 and not self.training.label_dropout:
            raise ValueError(
                f"sampling.guidance = {self.sampling.guidance} needs a model that has seen no label; "
                "set training.label_dropout above 0"
            )
        return self

    def _check_mixers(self) -> None:
        for i, backbone in enumerate(self.backbones):
            for name in backbone.mixers:
                try:
                    MIXERS.check(name, self.plugins)
                except ValueError as error:
                    raise ValueError(f"backbones.{i}.mixers: {error}") from None
        used = {name for backbone in self.backbones for name in backbone.mixers}
        for name in self.mixers.__pydantic_extra__ or {}:
            if name not in used:
                known = dict.fromkeys([*MIXERS.built_in, *sorted(used)])
                raise ValueError(
                    f"mixers.{name}: options of a mixer that is not used{did_you_mean(name, known)}; "
                    f"allowed here: {', '.join(known)}"
                )

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.task.train_images // self.training.batch)

    @property
    def total_steps(self) -> int:
        return self.training.steps or (self.training.epochs or 0) * self.steps_per_epoch

    @property
    def samples_drawn(self) -> int:
        """Of a trial: as many as the judge wants, or the grid, whichever is more."""
        return max(self.judge.samples, self.sampling.count)

    def document(self) -> dict[str, Any]:
        """Every default written out, as plain values; what has no value is left out, as TOML must."""
        return self.model_dump(mode="json", exclude_none=True)

    def digest(self) -> str:
        """SHA-256 of the canonical form of the resolved protocol, hex."""
        return seal.digest(self.document())
