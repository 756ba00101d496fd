"""What is asked of the flows: a checked value for each of the run's controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.protocol.sections.sampling import Sampling
from bakeoff.rundir.directory import RunDir
from bakeoff.studio.controls import SHOWN, controls_of


@dataclass(frozen=True)
class Query:
    """One flow.

    Attributes:
        label: None where the task has none.
        noise: seed of the starting noise.
        trained: training seed of the backbones.
        prompt: typed by a person; empty where the task's own are wanted.
        sampling: the protocol's own, with what was asked for.
    """

    label: int | None
    noise: int
    trained: int
    prompt: str
    sampling: Sampling


def query_of(run: RunDir, asked: Mapping[str, str] | None = None) -> Query:
    """Asked values by key; the control's default where nothing is asked for.

    Raises:
        BakeoffError: a key without a control, or a value that its control does not allow.
    """
    asked = asked or {}
    controls = controls_of(run)
    unknown = sorted(asked.keys() - {control.key for control in controls})
    if unknown:
        raise BakeoffError(f"{unknown[0][:SHOWN]!r}: unknown; allowed: {', '.join(one.key for one in controls)}.")
    values: dict[str, Any] = {
        one.key: one.parse(asked[one.key]) if one.key in asked else one.default for one in controls
    }
    label, noise, trained = values.pop("label", None), values.pop("noise"), values.pop("trained")
    prompt, own = values.pop("prompt", ""), run.protocol.sampling
    return Query(label, noise, trained, prompt, type(own).model_validate({**own.model_dump(), **values}))
