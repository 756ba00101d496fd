"""The controls of the flow page: one table that describes them to the page and checks what it asks for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from pydantic.fields import FieldInfo

from bakeoff.errors import BakeoffError
from bakeoff.protocol.schema import Protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.tasks import build_task

SEEDS = 2**31 - 1
PROMPTS = 1000  # to choose from, where each item has a prompt of its own
MOST = {"steps": 50}  # what a page's flow may take, below what a protocol may
USUAL = {"guidance": 8.0, "temperature": 2.0}  # the slider's end; the field takes more
HIDDEN = ("kind", "count", "eta", "guidance_from", "guidance_to")  # of a sampling section: not asked for on a page
UNGUIDED = "Trained with every label told: there is nothing to guide."
SHOWN = 80  # characters of what was given, in messages

Value = int | float | str


@dataclass(frozen=True, kw_only=True)
class Control(ABC):
    """One control.

    Attributes:
        key: its name in addresses.
        title: its name on the page.
        default: its value where nothing is asked for.
        why: it cannot be changed from its default, for this reason; empty if it can.
    """

    key: str
    title: str
    default: Value
    why: str = ""

    def parse(self, text: str) -> Value:
        """The value that a text stands for. Raises BakeoffError, with what is allowed."""
        value = self._read(text)
        if self.why and value is not None and value != self.default:
            raise BakeoffError(f"{self.key} = {text[:SHOWN]}; allowed: {self.default}. {self.why}")
        if value is None:
            raise BakeoffError(f"{self.key} = {text[:SHOWN]!r}; allowed: {self._allowed()}.")
        return value

    def describe(self) -> dict[str, Any]:
        """Plain values for the page."""
        common = {"key": self.key, "title": self.title, "default": self.default}
        return {**common, "disabled": bool(self.why), "why": self.why, **self._description()}

    @abstractmethod
    def _read(self, text: str) -> Value | None:
        """None for what is not allowed."""

    @abstractmethod
    def _allowed(self) -> str:
        """The allowed values, in words."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """What a page needs to build a control of this type."""


@dataclass(frozen=True, kw_only=True)
class OneOf(Control):
    """One of a few values: buttons ("choice") or a list ("select").

    Attributes:
        keys: keyboard keys of the first values, in their order.
        names: of the values, where these do not say enough.
    """

    type: Literal["choice", "select"]
    values: Sequence[Value]
    keys: Sequence[str] = ()
    names: Sequence[str] = ()

    def _read(self, text: str) -> Value | None:
        return next((value for value in self.values if str(value) == text), None)

    def _allowed(self) -> str:
        return ", ".join(map(str, self.values))

    def _description(self) -> dict[str, Any]:
        return {"type": self.type, "values": list(self.values), "keys": list(self.keys), "names": list(self.names)}


@dataclass(frozen=True, kw_only=True)
class Number(Control):
    """A number from `low` to `high`: a field, with a slider ("number") or with a button for another one ("noise").

    Attributes:
        step: of the slider; a whole one allows whole numbers alone.
        usual: where the slider ends; `high` if None.
        keys: keyboard keys that press the button.
    """

    type: Literal["number", "noise"] = "number"
    low: float
    high: float
    step: float = 1
    usual: float | None = None
    keys: Sequence[str] = ()

    def _read(self, text: str) -> Value | None:
        try:
            value = int(text) if isinstance(self.step, int) else float(text)
        except ValueError:
            return None
        return value if self.low <= value <= self.high else None  # nan is not

    def _allowed(self) -> str:
        whole = "whole numbers " if isinstance(self.step, int) else ""
        return f"{whole}{self.low:.10g} to {self.high:.10g}"

    def _description(self) -> dict[str, Any]:
        bounds = {"min": self.low, "max": self.high, "step": self.step, "usual": self.usual or self.high}
        return {"type": self.type, **bounds, "keys": list(self.keys)}


@dataclass(frozen=True, kw_only=True)
class Typed(Control):
    """A text that a person types; the empty one asks for nothing.

    Attributes:
        check: raises BakeoffError for a text that is not allowed.
        hint: what may be typed, with an example.
    """

    default: Value = ""
    check: Callable[[str], object]
    hint: str

    def _read(self, text: str) -> Value | None:
        if text:
            self.check(text)
        return text

    def _allowed(self) -> str:
        return self.hint

    def _description(self) -> dict[str, Any]:
        return {"type": "text", "hint": self.hint}


class Offer(NamedTuple):
    """What a task and its sampler offer the studio.

    Attributes:
        item: what one sample is called.
        start: what a sample is made from.
        question: what people are asked of a set of samples.
        starts: how many starts there are to choose from.
        labels: 0 to labels - 1 can be asked for; 0: no label can.
        names: of the labels; none where their numbers say enough.
        typed: control of a prompt that a person types; none where the task takes none.
        sampling: controls whose keys are fields of the protocol's sampling section.
    """

    item: str
    start: str
    question: str
    starts: int
    labels: int
    names: tuple[str, ...]
    typed: list[Control]
    sampling: list[Control]


def offer_of(protocol: Protocol) -> Offer:
    """What the protocol's task and its sampling section offer."""
    task = build_task(protocol)
    typed: list[Control] = []
    if task.example:
        typed.append(Typed(key="prompt", title=f"Your own {task.item}", check=task.typed, hint=task.example))
    start, starts = (task.item, PROMPTS) if task.varied else ("noise", SEEDS + 1)
    classes, sampling = task.space.classes, sampling_controls(protocol)
    return Offer(task.item, start, task.question, starts, classes, task.names, typed, sampling)


def sampling_controls(protocol: Protocol) -> list[Control]:
    """One for every field of the sampling section that can be changed after training, whatever its kind."""
    own = protocol.sampling
    hidden = {*HIDDEN, *getattr(protocol.objective, "idle", ())}
    return [
        _control(name, field, getattr(own, name), protocol)
        for name, field in type(own).model_fields.items()
        if name not in hidden
    ]


def _allowed(protocol: Protocol, name: str, value: Any) -> bool:
    """Whether the protocol could have been sealed with this value of its sampling."""
    own = protocol.sampling
    try:
        changed = type(own).model_validate({**own.model_dump(), name: value})
        protocol.model_copy(update={"sampling": changed}).check_sampling()
    except ValueError:
        return False
    return True


def _control(name: str, field: FieldInfo, own: Any, protocol: Protocol) -> Control:
    title = name.capitalize()
    if values := [value for value in get_args(field.annotation) if value == own or _allowed(protocol, name, value)]:
        return OneOf(key=name, title=title, type="select", values=values, default=own)
    bounds: dict[str, Any] = {
        key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)
    }
    low, high = bounds["ge"], min(bounds["le"], MOST.get(name, bounds["le"]))
    step: float = 1 if field.annotation is int else 0.25
    usual = USUAL.get(name)
    why = UNGUIDED if name == "guidance" and not protocol.guidable else ""
    default = 1 if why else min(own, high)
    return Number(key=name, title=title, low=low, high=high, step=step, usual=usual, default=default, why=why)


def controls_of(run: RunDir) -> list[Control]:
    """All controls of a run's flow page, in the page's order."""
    offer, seeds = offer_of(run.protocol), run.protocol.seeds
    last = offer.starts - 1
    noise = Number(key="noise", title=f"Shared {offer.start}", type="noise", low=0, high=last, default=0, keys=["r"])
    trained = OneOf(key="trained", title="Training seed", type="select", values=seeds, default=_most_trained(run))
    return [noise, *_label(offer), *offer.typed, *offer.sampling, trained]


def _label(offer: Offer) -> list[Control]:
    if not offer.labels:
        return []
    values = range(offer.labels)
    keys = [str(value) for value in values if value < 10]
    type_: Literal["choice", "select"] = "choice" if len(values) == len(keys) else "select"
    default = min(3, offer.labels - 1)
    title, names = offer.item.capitalize(), offer.names
    return [OneOf(key="label", title=title, type=type_, values=values, default=default, keys=keys, names=names)]


def _most_trained(run: RunDir) -> int:
    """The first of the training seeds with most backbones trained."""
    return max(
        run.protocol.seeds,
        key=lambda seed: sum(run.trial(backbone.name, seed).model.is_file() for backbone in run.protocol.backbones),
    )
