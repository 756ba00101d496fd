"""The sweep: one key of the recipe has a value of its own for each backbone, the best of a list that all share."""

from typing import Annotated, Literal

from pydantic import Field

from bakeoff.protocol.sections.base import Section

DIVERGED = "diverged"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Tried = Annotated[float, Field(ge=0, le=1e15)] | Literal["diverged"]  # the held-out loss that a value gave


class Found(Section):
    """What an earlier run of the sweep found, so that it need not be repeated."""

    run: Digest = Field(description="the last hash of that run's log, after its sweep")
    recipe: Digest = Field(description="of what was swept; `bakeoff run P --sweep-only` prints it")
    losses: dict[str, tuple[Tried, ...]] = Field(
        description='by backbone, the held-out loss at each of `values`, or "diverged"'
    )


class Sweep(Section):
    """One key that each backbone has its own value of: of those listed, the one with the lowest held-out loss."""

    key: Literal["training.lr", "training.weight_decay", "training.clip", "training.warmup", "training.ema"] = Field(
        default="training.lr", description="given nowhere else"
    )
    values: tuple[float, ...] = Field(min_length=3, max_length=32, description="from low to high, the same for all")
    seed: int = Field(ge=0, lt=2**31, description="of the trials of the sweep; none of the verdict's own")
    more_seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        default=(), max_length=16, description="more such seeds; then the mean of their losses counts"
    )
    found: Found | None = Field(default=None, description="left out: the run begins with the sweep")

    @property
    def name(self) -> str:
        """The key without its section."""
        return self.key.partition(".")[2]

    @property
    def seeds(self) -> tuple[int, ...]:
        return (self.seed, *self.more_seeds)

    def folder(self, backbone: str, value: float, seed: int) -> str:
        """Of one trial of the sweep, inside the run directory."""
        again = f"-s{seed}" if seed in self.more_seeds else ""
        return f"sweep/{backbone}-{self.name}-{value!r}{again}"
