"""The mixers, their options, and the backbones that they are arranged in."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from bakeoff.protocol.sections.base import Section
from bakeoff.protocol.sections.objectives import Objective
from bakeoff.protocol.sections.sampling import Sampling, of_objective

OptionValue = bool | int | float | str
Layer = str | Annotated[tuple[str, ...], Field(min_length=2, max_length=8)]  # one mixer, or several side by side
Combine = Literal["sum", "mean"]


class MambaOptions(Section):
    d_state: int = Field(default=16, ge=1, le=256, description="states per channel")
    d_conv: int = Field(default=4, ge=1, le=8, description="taps of the causal convolution")
    selective: bool = Field(
        default=True, description="dt, B and C depend on the token; false: they are the same for all tokens, as in S4"
    )
    discretise: Literal["exponential", "euler", "none"] = Field(
        default="exponential",
        description="how the continuous system becomes a recurrence: as published, by Euler's rule for A too (slow: no "
        "kernel has it), or no system at all: the decay is a gate",
    )


class _Headed(Section):
    """What Mamba-2 and Mamba-3 share: heads with one decay each, in groups that share B and C."""

    heads: Literal[1, 2, 4, 8] = Field(default=4, description="each of width / heads channels, with one decay")
    groups: Literal[1, 2, 4, 8] = Field(default=1, description="of B and C; must divide heads")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % self.groups:
            raise ValueError(f"groups = {self.groups} does not divide heads = {self.heads}")
        return self


class Mamba2Options(_Headed):
    d_state: int = Field(default=64, ge=1, le=256, description="states of a group")
    d_conv: int = Field(default=4, ge=1, le=8, description="taps of the causal convolution over x, B and C")


class Mamba3Options(_Headed):
    d_state: int = Field(default=64, ge=4, le=256, description="states of a group")
    rank: int = Field(default=1, ge=1, le=16, description="1: SISO; above: MIMO, so many queries and keys a token")
    decay: Literal["softplus", "heavy_tail"] = Field(
        default="softplus", description="how A follows from the token: as published, or as in the reference since 2026"
    )
    rope_fraction: float = Field(default=0.5, ge=0.5, le=1, description="share of the states that turn")
    bias: bool = Field(default=True, description="of B and C, for each head and rank")
    trapezoid: bool = Field(default=True, description="false: Euler's rule, as in Mamba-2")
    rotation: bool = Field(default=True, description="false: real decay alone, as in Mamba-2")
    out_norm: bool = Field(default=False, description="RMSNorm of each head before the gate")


class AttentionOptions(Section):
    heads: int = Field(default=4, ge=1, le=128, description="attention heads; must divide d_model")
    kv_heads: int = Field(
        default=0, ge=0, le=128, description="heads of keys and values; must divide heads; 0: as many as heads"
    )
    qk_norm: bool = Field(default=False, description="RMSNorm of each query and key")
    rope: bool = Field(
        default=False,
        description="queries and keys turn by their places: along each axis of a grid, or in the row; beside what "
        "model.positions gives all backbones",
    )
    window: int = Field(
        default=0, ge=0, le=1_000_000, description="tokens that one reads, itself included, on each side; 0: all"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads} does not divide heads = {self.heads}")
        return self


class MlpOptions(Section):
    gate: Literal["gelu", "swiglu"] = Field(
        default="gelu", description="swiglu: silu of one linear map times another, without biases"
    )


class GruOptions(Section):
    pass


class ConvOptions(Section):
    d_conv: int = Field(default=4, ge=1, le=8, description="taps: the token itself and those before it")


BUILT_IN = {
    "mamba": MambaOptions,
    "mamba2": Mamba2Options,
    "mamba3": Mamba3Options,
    "attention": AttentionOptions,
    "mlp": MlpOptions,
    "gru": GruOptions,
    "conv": ConvOptions,
}


class Mixers(Section):
    """Options of the mixers, the same wherever they stand; a plug-in's are handed to its constructor as they are.

    Another name with a `kind` is a second version of that mixer: `[mixers.plain] kind = "mamba", selective = false`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, dict[str, OptionValue]]  # pyright: ignore[reportIncompatibleVariableOverride]

    mamba: MambaOptions = MambaOptions()
    mamba2: Mamba2Options = Mamba2Options()
    mamba3: Mamba3Options = Mamba3Options()
    attention: AttentionOptions = AttentionOptions()
    mlp: MlpOptions = MlpOptions()
    gru: GruOptions = GruOptions()
    conv: ConvOptions = ConvOptions()

    @model_validator(mode="after")
    def _versions(self) -> Self:
        """Options of a version of a built-in mixer are checked, and its defaults written out."""
        for name, options in (self.__pydantic_extra__ or {}).items():
            if (section := BUILT_IN.get(str(options.get("kind")))) is not None and ":" not in name:
                given = {key: value for key, value in options.items() if key != "kind"}
                options |= section.model_validate(given).model_dump()
        return self

    @property
    def kinds(self) -> dict[str, str]:
        """The mixer behind every name that is a version of another."""
        extra = self.__pydantic_extra__ or {}
        return {name: str(one["kind"]) for name, one in extra.items() if "kind" in one and ":" not in name}

    def options(self) -> dict[str, dict[str, OptionValue]]:
        """By name, what a mixer's constructor is given."""
        versions = self.kinds
        return {
            name: {key: value for key, value in one.items() if key != "kind" or name not in versions}
            for name, one in self.model_dump().items()
        }


class Backbone(Section):
    """A named arrangement of mixers, repeated `repeats` times; those in a list of their own run side by side.

    `from = "jamba"` takes one that ships (`bakeoff ls --backbones`); keys beside it go over its own.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="lower case, digits, - and _")
    mixers: tuple[Layer, ...] = Field(
        min_length=1, max_length=64, description='such as ["mamba", "mlp"], or [["mamba", "attention"], "mlp"]'
    )
    repeats: int = Field(default=1, ge=1, le=256)
    attention_every: int = Field(
        default=0,
        ge=0,
        le=256,
        description="in the middle one of so many repeats `attention` stands in the first mixer's place; 0: in none",
    )
    combine: Combine = Field(
        default="sum", description="of mixers side by side: their sum, or the mean of their normed outputs, mapped"
    )
    objective: Objective | None = Field(default=None, description="its own, in place of the protocol's")
    sampling: Sampling | None = Field(
        default=None, description="its own, in place of the protocol's; the count is the protocol's"
    )

    @field_validator("sampling", mode="before")
    @classmethod
    def _sampling_follows_objective(cls, given: Any, others: ValidationInfo) -> Any:
        return of_objective(given, others.data.get("objective"))

    @model_validator(mode="after")
    def _has_attention(self) -> Self:
        if self.attention_every and self.attention_every // 2 >= self.repeats:
            raise ValueError(
                f"attention_every = {self.attention_every} places no attention in {self.repeats} repeats; allowed: up "
                f"to {2 * self.repeats - 1}"
            )
        return self

    @property
    def layers(self) -> tuple[Layer, ...]:
        every, with_attention = self.attention_every, ("attention", *self.mixers[1:])
        blocks = (with_attention if every and i % every == every // 2 else self.mixers for i in range(self.repeats))
        return tuple(layer for block in blocks for layer in block)

    @property
    def names(self) -> tuple[str, ...]:
        """The mixers of all layers, one by one, in order."""
        return tuple(name for layer in self.layers for name in ((layer,) if isinstance(layer, str) else layer))

    def arranged(self, shown: Callable[[str], str] = str) -> str:
        """The layers in words, such as 4 x [mamba2 + attention, mlp]; `shown` writes a mixer's name."""
        layers = [(layer,) if isinstance(layer, str) else layer for layer in self.mixers]
        block = ", ".join(" + ".join(map(shown, layer)) for layer in layers)
        share = f", attention in 1 of {self.attention_every}" if self.attention_every else ""
        return f"{self.repeats} x [{block}]{share}"
