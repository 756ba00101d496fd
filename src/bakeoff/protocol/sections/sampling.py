"""How every candidate makes its items: by a solver from noise, or by decoding one symbol after the other."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from bakeoff.protocol.sections.base import Section


class Solver(Section):
    """Integration from noise to data."""

    kind: Literal["solver"] = Field(default="solver", description="follows the objective where it is left out")
    steps: int = Field(default=10, ge=1, le=1000)
    solver: Literal["euler", "midpoint", "heun"] = "euler"
    guidance: float = Field(default=1.0, ge=0, le=20, description="classifier-free guidance weight; 1 is none")
    count: int = Field(default=64, ge=1, le=1024, description="samples shown in the grid")


class Decoding(Section):
    """Symbol after symbol: the likeliest, or drawn."""

    guidance: ClassVar[float] = 1.0  # none

    kind: Literal["decoding"]
    temperature: float = Field(
        default=0.0, ge=0, le=100, description="0 takes the likeliest symbol; else symbols are drawn, 1 as predicted"
    )
    count: int = Field(default=64, ge=1, le=1024, description="samples shown in the grid")


def of_objective(given: Any, objective: Any) -> Any:
    """A section as it was given, with the kind by which this objective's items are made if it says none."""
    made = getattr(objective, "sampling", None)
    return {"kind": made, **given} if made and isinstance(given, dict) and "kind" not in given else given


def _kind(value: object) -> str:
    return value.get("kind", "solver") if isinstance(value, dict) else getattr(value, "kind", "solver")


Sampling = Annotated[Annotated[Solver, Tag("solver")] | Annotated[Decoding, Tag("decoding")], Discriminator(_kind)]
