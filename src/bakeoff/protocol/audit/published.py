"""A published table as a typed record: what a study prints, so that it can be audited and given to the rule.

Only the backbones' names are required; what a study does not say is left out, and the checks that need it are skipped.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bakeoff.errors import BakeoffError
from bakeoff.protocol.documents import existing_file, parse_document, read_toml
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.sections.base import Section

LARGEST_TABLE = 1 << 16

# Bounds that no study comes near, so that products of printed figures neither overflow nor vanish.
Whole = Annotated[int, Field(ge=1, le=10**12)]
Positive = Annotated[float, Field(ge=1e-9, le=1e15)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]


class Setup(Section):
    """What all backbones share."""

    dataset: Text | None = Field(default=None, description='the floor of "mnist" is computed; other names are skipped')
    train_images: Whole | None = None
    image_size: Whole | None = Field(default=None, description="side of a square image, pixels")
    patch_size: Whole | None = Field(default=None, description="side of a square patch, pixels")
    tokens: Whole | None = Field(default=None, description="tokens an image")
    pixel_range: tuple[float, float] | None = Field(default=None, description="values of black and white")
    loss: Text | None = Field(
        default=None, description='known: "velocity_mse_mean_over_pixels_uniform_t", t in [0, 1] from noise to data'
    )
    loss_floor: Positive | None = Field(
        default=None, description="the memoriser's floor, where it is known; otherwise it is computed"
    )
    d_model: Whole | None = None
    d_state: Whole | None = Field(default=None, description="states per channel of a Mamba block")
    epochs: Whole | None = None
    steps: Whole | None = Field(default=None, description="all steps of training; otherwise epochs times steps of one")
    batch_size: Whole | None = None
    seeds: Whole | None = Field(default=None, description="how many, not which")
    device: Text | None = None
    device_peak_tflops: Positive | None = Field(default=None, description="the most generous reading of its data sheet")
    match_tolerance: Share | None = Field(default=None, description="largest parameter count over smallest, less one")
    loss_margin: Share = Field(default=0.10, description="losses within this of the best are equivalent")
    speed_margin: Share = Field(default=0.05, description="the fastest must lead by more than this")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.pixel_range is not None:
            low, high = self.pixel_range
            if not -1e6 <= low < high <= 1e6:
                raise ValueError(f"pixel_range = {list(self.pixel_range)}; allowed: two rising numbers within +-1e6")
        return self


class Block(Section):
    """One or more equal mixers. Widths left out are the backbone's, then the literature's."""

    mixer: Text = Field(description='counted are "mamba", "attention" and "mlp"; others are skipped')
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 1
    width: Whole | None = Field(
        default=None, description="d_inner of mamba (2 d_model), of attention (d_model), hidden of mlp (4 d_model)"
    )
    d_state: Whole | None = None
    d_conv: Whole | None = None


class Row(Section):
    """One backbone: `mixers` repeated `repeats` times, or the same spelled out as `blocks`; and its figures."""

    name: Name = Field(description="lower case, digits, - and _")
    mixers: tuple[Text, ...] = Field(default=(), max_length=64)
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 1
    blocks: tuple[Block, ...] = Field(default=(), max_length=64)
    expand: Positive | None = Field(
        default=None, description="d_inner of a Mamba block over d_model; the literature: 2"
    )
    d_state: Whole | None = Field(default=None, description="otherwise that of the setup")
    d_conv: Whole | None = Field(default=None, description="taps of a Mamba block's convolution; the literature: 4")
    heads: Whole | None = Field(default=None, description="attention heads; the count does not depend on them")
    mlp_width: Whole | None = Field(default=None, description="hidden width; the literature: 4 d_model")
    params: Positive | None = Field(default=None, description="parameters, as printed")
    other_params: Annotated[float, Field(ge=0, le=1e15)] | None = Field(
        default=None, description="those outside the blocks: embedding, conditioning, head"
    )
    seeds: Whole | None = Field(default=None, description="otherwise those of the setup")
    final_loss: Positive | None = None
    step_ms: Positive | None = Field(default=None, description="forward and backward of one step")
    peak_memory_gb: Positive | None = None
    wall_min: Positive | None = Field(default=None, description="wall-clock of the training, minutes")
    samples: Literal["clean", "noise"] | None = Field(default=None, description="the quality bar, by inspection")

    @model_validator(mode="after")
    def _one_arrangement(self) -> Self:
        if self.mixers and self.blocks:
            raise ValueError(f"backbone {self.name}: give mixers (with repeats) or blocks, not both")
        return self

    @property
    def arrangement(self) -> tuple[Block, ...]:
        """The blocks, however they were written; empty if the table does not tell."""
        return self.blocks or tuple(Block(mixer=mixer, repeats=self.repeats) for mixer in self.mixers)


class Claim(Section):
    """What is said to follow: what grows (or fails) with what, and where that was measured."""

    text: Text
    varies: Text | None = Field(default=None, description='"tokens", "backbone", "epochs", ...: what it depends on')
    measured_at: tuple[float | Text, ...] | None = Field(
        default=None, max_length=1000, description="values of what varies; of the backbone: all in the table"
    )
    extrapolated_to: tuple[float | Text, ...] | None = Field(default=None, max_length=1000)
    seeds: Whole | None = Field(default=None, description="otherwise the fewest of setup and backbones")
    learning_rates: tuple[Positive, ...] | None = Field(default=None, max_length=1000)


class PrintedVerdict(Section):
    """The verdict that the table itself draws."""

    winner: Name | None = None
    skipped: tuple[Name, ...] = Field(default=(), max_length=64)
    eliminated: tuple[Name, ...] = Field(default=(), max_length=64)


class Table(Section):
    """A published table."""

    setup: Setup = Setup()
    backbone: tuple[Row, ...] = Field(min_length=1, max_length=64)
    claim: tuple[Claim, ...] = Field(default=(), max_length=64)
    verdict: PrintedVerdict | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [row.name for row in self.backbone]
        if len(set(names)) < len(names):
            raise ValueError(f"backbone: names must differ, given {', '.join(names)}")
        if self.verdict is not None:
            printed = (self.verdict.winner, *self.verdict.skipped, *self.verdict.eliminated)
            for name in printed:
                if name is not None and name not in names:
                    raise ValueError(f"verdict: no backbone is called {name}; there are {', '.join(names)}")
        return self

    @property
    def steps(self) -> int | None:
        """Steps of the whole training; the last, smaller batch of an epoch counts as one."""
        setup = self.setup
        if setup.steps is not None:
            return setup.steps
        if setup.epochs is None or setup.train_images is None or setup.batch_size is None:
            return None
        return setup.epochs * -(-setup.train_images // setup.batch_size)


def load_table(source: str) -> Table:
    """A published table from a TOML file.

    Raises:
        BakeoffError: no such file, not TOML, an unknown key, an impossible value.
    """
    path = existing_file(source, "the TOML file of a published table")
    if path is None:
        raise BakeoffError(f"{source or '(nothing)'}: no such file; give the TOML file of a published table.")
    return parse_table(read_toml(path, "published table", LARGEST_TABLE), source)


def parse_table(document: dict[str, object], source: str) -> Table:
    """A document as a checked table; `source` names it in errors."""
    return parse_document(Table, document, source, "published table")


def evidence(table: Table) -> dict[str, Evidence]:
    """What the rule reads of every backbone: the figures as printed, taken as those of one seed."""
    return {row.name: _evidence(row) for row in table.backbone}


def _evidence(row: Row) -> Evidence:
    bar = () if row.samples is None else (Check("samples", row.samples, "clean", row.samples == "clean"),)
    memory = None if row.peak_memory_gb is None else row.peak_memory_gb * 1e9 / 2**20
    costs = {"step_time_ms": row.step_ms, "peak_memory_mib": memory}
    return Evidence(
        backbone=row.name,
        seed=0,
        completed=True,
        checks=bar,
        figures={} if row.final_loss is None else {"loss": row.final_loss},
        costs={name: value for name, value in costs.items() if value is not None},
    )
