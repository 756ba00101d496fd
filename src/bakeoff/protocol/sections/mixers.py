"""The mixers, their options, and the backbones that they are arranged in."""

from typing import Any

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from bakeoff.protocol.sections.base import Section
from bakeoff.protocol.sections.objectives import Objective
from bakeoff.protocol.sections.sampling import Sampling, of_objective

OptionValue = bool | int | float | str


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
    objective: Objective | None = Field(default=None, description="its own, in place of the protocol's")
    sampling: Sampling | None = Field(
        default=None, description="its own, in place of the protocol's; the count is the protocol's"
    )

    @field_validator("sampling", mode="before")
    @classmethod
    def _sampling_follows_objective(cls, given: Any, others: ValidationInfo) -> Any:
        return of_objective(given, others.data.get("objective"))

    @property
    def layers(self) -> tuple[str, ...]:
        return self.mixers * self.repeats
