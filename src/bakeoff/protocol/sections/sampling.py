"""How every candidate makes its items: by a solver from noise, or by decoding one symbol after the other."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from bakeoff.protocol.sections.base import Section


class Solver(Section):
    """Integration from noise to data."""

    kind: Literal["solver"] = Field(default="solver", description="follows the objective where it is left out")
    steps: int = Field(default=10, ge=1, le=1000)
    solver: Literal["euler", "midpoint", "heun", "ddim", "ancestral", "dpmpp2m"] = Field(
        default="euler",
        description="euler, midpoint, heun: of the flow, in equal steps of its time; ddim, dpmpp2m (DPM-Solver++ of "
        "second order), and for ddpm ancestral: over the times of a grid",
    )
    eta: float = Field(default=0.0, ge=0, le=1, description="new noise of ddim's steps, for ddpm: 1 is ancestral")
    grid: Literal["trailing", "leading", "flow"] = Field(
        default="trailing",
        description="which of ddpm's 1000 steps ddim, ancestral and dpmpp2m take; flow: even ones on the linear path",
    )
    guidance: float = Field(default=1.0, ge=0, le=20, description="classifier-free guidance weight; 1 is none")
    guidance_from: float = Field(default=0.0, ge=0, le=1, description="guide only after this time, 0 being noise")
    guidance_to: float = Field(default=1.0, ge=0, le=1, description="and before this one, 1 being data")
    count: int = Field(default=64, ge=1, le=1024, description="samples shown in the grid")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.guidance_from >= self.guidance_to:
            raise ValueError(
                f"guidance_from = {self.guidance_from:g}, guidance_to = {self.guidance_to:g}; allowed: from below to"
            )
        if self.eta and self.solver != "ddim":
            raise ValueError(f'eta = {self.eta:g} is of solver = "ddim"; set it, or leave eta out')
        return self

    @property
    def noise_share(self) -> float:
        """The new noise of a step over what keeps the variance: eta."""
        return 1.0 if self.solver == "ancestral" else self.eta

    @property
    def everywhere(self) -> bool:
        """Whether guidance knows no interval."""
        return (self.guidance_from, self.guidance_to) == (0.0, 1.0)

    def guides(self, t: float) -> bool:
        """Whether a time lies where guidance acts; those of float32 count as what they are rounded from."""
        return self.everywhere or self.guidance_from < round(t, 6) < self.guidance_to


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
