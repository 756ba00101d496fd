"""Backbones: named arrangements of mixers, built at given widths and in a given token order."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from bakeoff.errors import BakeoffError
from bakeoff.models.costs import expand_of, reads_one_way, width_name_of
from bakeoff.models.mixers import Direction
from bakeoff.models.order import ContextFirst, CrossScan
from bakeoff.models.parallel import Parallel
from bakeoff.protocol.sections.mixers import Combine, Layer
from bakeoff.registry import MIXERS

Kinds = Mapping[str, str]  # a version's name -> the mixer that it is a version of
NO_VERSIONS: Kinds = {}
Order = Literal["raster", "reverse", "alternating", "bidirectional", "cross"]


def mixer_class(name: str) -> type[nn.Module]:
    """The class behind a mixer's name.

    Raises:
        BakeoffError: the name is unknown, a plug-in is not allowed or cannot be loaded, or it is not a torch.nn.Module.
    """
    kind = MIXERS.get(name)
    if not issubclass(kind, nn.Module):
        raise BakeoffError(f"mixer {name!r}: is no torch.nn.Module class.")
    return kind


def nominal_widths(layers: Sequence[str], d_model: int, kinds: Kinds = NO_VERSIONS) -> dict[str, int]:
    """The literature's width of every mixer in the arrangement, by its name."""
    return {name: expand_of(mixer_class(kinds.get(name, name))) * d_model for name in layers}


def elastic(layers: Sequence[str], kinds: Kinds = NO_VERSIONS) -> list[str]:
    """The names of the mixers whose width the matcher may change."""
    return [name for name in dict.fromkeys(layers) if width_name_of(mixer_class(kinds.get(name, name)))]


def build_mixers(
    layers: Sequence[Layer],
    d_model: int,
    widths: Mapping[str, int],
    options: Mapping[str, Mapping[str, Any]],
    order: Order,
    *,
    causal: bool = False,
    context: int = 0,
    class_tokens: tuple[int, int] = (0, 0),
    grid: tuple[int, ...] = (),
    rope: bool = False,
    kinds: Kinds = NO_VERSIONS,
    combine: Combine = "sum",
) -> list[nn.Module]:
    """Builds one mixer a layer; of mixers side by side, one that combines them.

    Args:
        order: order of the tokens; it becomes a direction for the mixers that read one way.
        causal: every mixer reads only earlier tokens, whatever the order.
        context: number of tokens that are read before the others, whatever the order.
        class_tokens: number of tokens that are read before even those, and the layer before which they come.
        grid: how the others lie; empty: in a row.
        rope: mixers that can add positions themselves do, by place in the row; by the grid if their own option says so.
        kinds: the mixer behind every name that is a version of another.
        combine: how mixers side by side become one.

    Raises:
        BakeoffError: a mixer does not take the options, or the objective is causal and a mixer cannot be; or the order
            needs a grid.
    """
    if order == "cross" and len(grid) < 2:
        raise BakeoffError(
            "model.order = cross: reads a grid along each of its axes; the tokens of this task lie in a row."
        )
    turns = 0

    def built(name: str, context: int) -> nn.Module:
        nonlocal turns
        kind, arguments = mixer_class(kinds.get(name, name)), dict(options.get(name, {}))
        if getattr(kind, "takes_places", False) and arguments.get("rope"):
            arguments |= {"grid": grid, "context": context}
        elif rope and getattr(kind, "takes_rope", False):
            arguments["rope"] = True
        if not reads_one_way(kind):
            if causal and getattr(kind, "reads", "both ways") == "both ways":
                arguments["causal"] = True
            return _construct(name, kind, d_model, widths[name], arguments)
        direction = "forward" if causal else _direction(order, turns)
        turns += 1
        if context and direction != "forward":
            mixer = _construct(name, kind, d_model, widths[name], arguments | {"direction": "forward"})
            mixer = ContextFirst(mixer, direction, context, d_model)
        else:
            mixer = _construct(name, kind, d_model, widths[name], arguments | {"direction": direction})
        return CrossScan(mixer, grid, context, d_model) if order == "cross" and not causal else mixer

    def layer_of(layer: Layer, first: int) -> nn.Module:
        if isinstance(layer, str):
            return built(layer, first)
        return Parallel([built(name, first) for name in layer], d_model, combine)

    more, at = class_tokens
    return [layer_of(layer, context + (more if i >= at else 0)) for i, layer in enumerate(layers)]


def _construct(name: str, kind: type[nn.Module], d_model: int, width: int, arguments: dict[str, Any]) -> nn.Module:
    try:
        return kind(d_model, width, **arguments)
    except TypeError as error:
        given = ", ".join(["d_model", "width", *arguments])
        raise BakeoffError(f"mixer {name!r}: cannot be built from ({given}): {error}.") from error


def _direction(order: Order, turn: int) -> Direction:
    if order in ("bidirectional", "cross"):
        return "both"
    if order == "alternating":
        return "reverse" if turn % 2 else "forward"
    return "reverse" if order == "reverse" else "forward"
