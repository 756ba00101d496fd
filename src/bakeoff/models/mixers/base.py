"""The contract of a mixer: a map (B, L, D) -> (B, L, D) that does not know time, class or residuals.

A mixer is built from (d_model, width, **options), initialises itself, and states its costs: `flops(L)` of one
sample's forward pass, where a multiply-add counts as two, and `state_bytes(L)`, the bytes that generation token by
token would have to keep after L tokens, in float32.

A mixer that can go on token by token has two methods more: `start(B)`, its state before the first token of B items, on
its own device; and `prefill(x_BLD, state) -> (y_BLD, state)`, which reads the next L tokens, as `forward` would if it
got them behind all that the state has read. It may have `step(x_BD, state) -> (y_BD, state)` where one token can be
read faster than by `prefill`. The state belongs to whoever holds it and is used once: the mixer may change it.

Shapes: B batch, L tokens, D = d_model.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bakeoff.errors import BakeoffError

FLOAT_BYTES = 4
Direction = Literal["forward", "reverse", "both"]
Reads = Literal["token", "one way", "both ways"]
State = Any  # of one mixer, or None where it keeps none


class Mixer(nn.Module, ABC):
    """The contract of the built-in mixers; a plug-in need not inherit from it.

    Class attributes tell the trunk and the matcher what they need to know.

    Attributes:
        expand: nominal width divided by d_model, as in the literature.
        width_name: the name of the width, or None if it stays at its nominal value when sizes are matched.
        reads: "token": each token by itself; "one way": in one order, and the constructor takes a `direction`;
            "both ways": all tokens, and the constructor takes `causal` if the mixer can read only earlier ones.
        takes_rope: whether its constructor takes `rope`, for positions that it adds itself.
        takes_places: whether it takes `grid` and `context` beside `rope`, to add positions on each axis of a grid.
        no_decay: names of its parameters without weight decay; norms and biases never have it.
        matrices: names of the weights of its linear maps, which Muon may update; not of whatever has two axes, as A_log
            and the taps of a convolution have.
    """

    expand: ClassVar[int] = 1
    width_name: ClassVar[str | None] = None
    reads: ClassVar[Reads] = "both ways"
    takes_rope: ClassVar[bool] = False
    takes_places: ClassVar[bool] = False
    no_decay: ClassVar[tuple[str, ...]] = ()
    matrices: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def flops(self, L: int) -> int: ...

    @abstractmethod
    def state_bytes(self, L: int) -> int: ...


class OneWay(Mixer):
    """A mixer that reads in one order; "both" reads each way with the same weights and adds what the two give.

    Attributes:
        directions: for each reading, whether it is the reverse one.
    """

    reads = "one way"
    width: int

    def __init__(self, direction: Direction) -> None:
        super().__init__()
        self.directions = (False, True) if direction == "both" else (direction == "reverse",)

    def require_forward(self) -> None:
        """Raises BakeoffError unless it can go on token by token."""
        if self.directions != (False,):
            name = type(self).__name__.lower()
            raise BakeoffError(f"{name}: only one that reads forward can go on token by token.")

    def with_reverse(self, state_bytes: int, L: int) -> int:
        """Bytes of the state, and of all tokens where the reverse reading needs them."""
        return state_bytes + (L * self.width * FLOAT_BYTES if len(self.directions) > 1 else 0)


@torch.no_grad()
def draw_steps_(dt_bias: Tensor) -> None:
    """Fills it so that softplus gives steps log-uniform in [1e-3, 1e-1], as the Mamba reference implementations do."""
    dt = dt_bias.uniform_(math.log(1e-3), math.log(1e-1)).exp().clamp(min=1e-4)
    dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse of softplus


def steps(mixer: nn.Module) -> bool:
    """Whether a mixer can go on token by token."""
    return callable(getattr(mixer, "start", None)) and callable(getattr(mixer, "prefill", None))


def step(mixer: Any, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
    """One token, (B, D) -> (B, D), by the mixer's own `step` or else by its `prefill`."""
    if callable(getattr(mixer, "step", None)):
        return mixer.step(x_BD, state)
    y_BLD, state = mixer.prefill(x_BD.unsqueeze(1), state)
    return y_BLD.squeeze(1), state
