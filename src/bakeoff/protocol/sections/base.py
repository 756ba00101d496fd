"""What all sections of a protocol have in common: frozen, no unknown keys, finite numbers."""

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

OptionValue = bool | int | float | str
PLUG_IN = "plug-in"  # the tag of a union's last member


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlugIn(Section):
    """A part of the user's own: `kind` is package.module:Class, or a name that a module under plugins registers; all
    other keys are handed to it as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, OptionValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    kind: str = Field(min_length=1, max_length=200, description="package.module:Class, or a registered name")

    @property
    def options(self) -> dict[str, OptionValue]:
        return dict(self.__pydantic_extra__ or {})


def tag_of(built_in: Iterable[str], default: str) -> Callable[[Any], str]:
    """Which member of a union a value chooses by its `kind`: a built-in one, or else the plug-in."""
    known = tuple(built_in)

    def tag(value: Any) -> str:
        kind = value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)
        return kind if kind in known else PLUG_IN

    return tag
