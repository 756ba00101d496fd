"""The costs of a mixer: as the mixer states them, or measured and marked as such if a plug-in states nothing."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.errors import BakeoffError

FLOAT_BYTES = 4


def expand_of(kind: type[nn.Module]) -> int:
    """Nominal width divided by d_model."""
    return int(getattr(kind, "expand", 1))


def width_name_of(kind: type[nn.Module]) -> str | None:
    """The name of the width; None if the width must not be changed."""
    return getattr(kind, "width_name", "width")


def reads_one_way(kind: type[nn.Module]) -> bool:
    """Whether the class reads tokens in one order and takes a `direction`."""
    return getattr(kind, "reads", None) == "one way"


def unstated(kind: type[nn.Module]) -> tuple[str, ...]:
    """The costs that the class does not state, which are therefore measured."""
    return tuple(cost for cost in ("flops", "state_bytes") if not callable(getattr(kind, cost, None)))


def flops(mixer: nn.Module, L: int, d_model: int) -> int:
    """FLOPs of one sample's forward pass: stated, or counted by torch, which counts only products and convolutions."""
    if "flops" not in unstated(type(mixer)):
        return _whole(mixer.flops(L), mixer, "flops")  # type: ignore[operator]
    device = next((p.device for p in mixer.parameters()), torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mixer(torch.zeros(1, L, d_model, device=device))
    return counter.get_total_flops()


def state_bytes(mixer: nn.Module, L: int, d_model: int) -> int:
    """Bytes that generation token by token keeps: stated, or those of all inputs so far, which are always enough."""
    if "state_bytes" not in unstated(type(mixer)):
        return _whole(mixer.state_bytes(L), mixer, "state_bytes")  # type: ignore[operator]
    return L * d_model * FLOAT_BYTES


def _whole(value: object, mixer: nn.Module, cost: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BakeoffError(f"mixer {type(mixer).__name__}: {cost}(L) gave {value!r}; it must be a whole number >= 0.")
    return value
