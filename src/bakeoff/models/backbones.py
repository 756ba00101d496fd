"""Backbones: named arrangements of mixers, built at given widths and in a given token order."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bakeoff.models.mixers import MIXERS, Direction, Mixer

Order = Literal["raster", "reverse", "alternating", "bidirectional"]


def nominal_widths(layers: Sequence[str], d_model: int) -> dict[str, int]:
    """The literature's width of every kind of mixer in the arrangement."""
    return {name: MIXERS[name].expand * d_model for name in layers}


def elastic(layers: Sequence[str]) -> list[str]:
    """The kinds of mixer whose width the matcher may turn."""
    return [name for name in dict.fromkeys(layers) if MIXERS[name].width_name]


def build_mixers(
    layers: Sequence[str],
    d_model: int,
    widths: Mapping[str, int],
    options: Mapping[str, Mapping[str, Any]],
    order: Order,
) -> list[Mixer]:
    """One mixer a layer. The token order becomes a direction for the mixers that have one."""
    built: list[Mixer] = []
    turns = 0
    for name in layers:
        kind, arguments = MIXERS[name], dict(options.get(name, {}))
        if kind.directional:
            arguments["direction"] = _direction(order, turns)
            turns += 1
        built.append(kind(d_model, widths[name], **arguments))
    return built


def _direction(order: Order, turn: int) -> Direction:
    if order == "bidirectional":
        return "both"
    if order == "alternating":
        return "reverse" if turn % 2 else "forward"
    return "reverse" if order == "reverse" else "forward"
