"""Figures and costs: what is measured, by name, and which way is better.

A quality figure or a cost is named once, here or by a plug-in task. The bar, the rule, the lint, the terminal and the
report read names and directions from it, so that no threshold can be written the wrong way round.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bakeoff.errors import BakeoffError, did_you_mean
from bakeoff.protocol.sections.tasks import CLASSES


@dataclass(frozen=True)
class Figure:
    """One named number.

    Attributes:
        name: the key in protocols and measurements.
        title: for people, in lower case.
        better: the direction; None for a figure that is reported and decides nothing.
        unit: of the number; empty for a pure one.
        low, high: the bounds that the number has by its nature; None where it has none.
        of: "items" for a mean over items, which means something on a handful of them; "set" for a property of the
            whole set, which depends on how many items the set has.
        counts: a count of things found among the items, so never more than there are items.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    title: str
    better: Literal["higher", "lower"] | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    of: Literal["items", "set"] = "set"
    counts: bool = False

    @property
    def share(self) -> bool:
        """A share of items, so that its binomial error is known."""
        return self.of == "items" and (self.low, self.high) == (0, 1)

    @property
    def label(self) -> str:
        """Title and unit, as a column's head."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def meets(self, value: float, threshold: float) -> bool:
        """Whether a value is at least as good as a threshold."""
        return value >= threshold if self.better == "higher" else value <= threshold

    def check(self, value: float, where: str) -> None:
        """Raises BakeoffError, with `where` it was given, for a value that the figure cannot have."""
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):
            ends = ("" if low is None else f"at least {low:g}", "" if high is None else f"at most {high:g}")
            raise BakeoffError(f"{where} = {value:g}; allowed: {' and '.join(filter(None, ends))}.")

    def to_json(self) -> dict[str, Any]:
        """As plain values; `figure_from_json` reads them back."""
        return asdict(self)


_CHECKED = TypeAdapter(Figure)


def figure_from_json(document: object) -> Figure:
    """A figure from plain values, as a sealed plan holds it.

    Raises:
        BakeoffError: an unknown key, a missing one, an impossible value.
    """
    try:
        return _CHECKED.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "figure"
        raise BakeoffError(f"not a figure: {where}: {first['msg']}.") from None


def _named(*figures: Figure) -> dict[str, Figure]:
    return {one.name: one for one in figures}


# Never negative. An exact zero can be recorded: a model may learn its data by heart.
LOSS = Figure("loss", "loss", "lower", low=0, of="items")

COSTS = _named(
    Figure("step_time_ms", "step time", "lower", "ms", low=0),
    Figure("sampling_time_s", "sampling time", "lower", "s", low=0),
    Figure("peak_memory_mib", "peak memory", "lower", "MiB", low=0),
    Figure("wall_s", "wall-clock of a trial", "lower", "s", low=0),
    Figure("nfe", "network evaluations a sample", "lower", low=0),
    Figure("flops_per_sample", "FLOPs a sample", "lower", low=0),
    Figure("state_bytes", "state", "lower", "bytes", low=0),
)

DIGITS = _named(
    Figure("recognised", "recognised share", "higher", low=0, high=1, of="items"),
    Figure("classes", "classes covered", "higher", low=0, high=CLASSES, counts=True),
    Figure("frechet", "Fréchet distance", "lower", low=0),
    Figure("sharpness", "sharpness", None, low=0),
)

IMAGES = {
    **DIGITS,
    **_named(
        Figure("asked_for", "recognised as asked for", "higher", low=0, high=1, of="items"),
        Figure("precision", "precision", "higher", low=0, high=1),
        Figure("recall", "recall", "higher", low=0, high=1),
        Figure("authentic", "not nearer to its training image than the next one", "higher", low=0, high=1, of="items"),
        Figure("copying", "z of distances to training images", None),
    ),
}

HELD_OUT = Figure("held_out_loss", "held-out loss", "lower", low=0, of="items")
RECALL = _named(
    Figure("accuracy", "accuracy", "higher", low=0, high=1, of="items"),
    Figure("solved", "sequences all right", "higher", low=0, high=1, of="items"),
    HELD_OUT,
)

TRACKING = _named(
    Figure("tracked", "scaled accuracy at the end", "higher", low=-1, high=1, of="items"),
    Figure("accuracy", "accuracy", "higher", low=0, high=1, of="items"),
    HELD_OUT,
)

FIGURES = {
    "mnist": DIGITS,
    "emoji": IMAGES,
    "cifar10": IMAGES,
    "fashion": IMAGES,
    "recall": RECALL,
    "tracking": TRACKING,
}  # by the kind of the task


def figures_of(task_kind: str) -> dict[str, Figure] | None:
    """The quality figures of a built-in task; None for a plug-in's, which only the sealed plan knows."""
    return FIGURES.get(task_kind)


def known_figures(plan: Mapping[str, Any], task_kind: str) -> dict[str, Figure]:
    """Every figure that a run can have: the loss, then those of its sealed plan, or else of its built-in task.

    Args:
        plan: the sealed plan; `plan["figures"]` lists figures as plain values. Format 1 had no such list.

    Raises:
        BakeoffError: the list holds something that is no figure.
    """
    listed = plan.get("figures")
    if listed is None:
        return {"loss": LOSS, **(figures_of(task_kind) or {})}
    if not isinstance(listed, list):
        raise BakeoffError("plan.figures: not a list of figures.")
    return {"loss": LOSS, **_named(*map(figure_from_json, listed))}


def find_figure(name: str, known: Iterable[str], where: str) -> None:
    """Raises BakeoffError if `name`, given as `where`, is none of the known figures."""
    known = list(known)
    if name not in known:
        allowed = ", ".join(known) or "none is known"
        raise BakeoffError(f"{where}: {name} is not a figure here{did_you_mean(name, known)}; allowed: {allowed}.")
