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

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

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
        no_decay: names of its parameters without weight decay; norms and biases never have it.
    """

    expand: ClassVar[int] = 1
    width_name: ClassVar[str | None] = None
    reads: ClassVar[Reads] = "both ways"
    takes_rope: ClassVar[bool] = False
    no_decay: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def flops(self, L: int) -> int: ...

    @abstractmethod
    def state_bytes(self, L: int) -> int: ...


def steps(mixer: nn.Module) -> bool:
    """Whether a mixer can go on token by token."""
    return callable(getattr(mixer, "start", None)) and callable(getattr(mixer, "prefill", None))


def step(mixer: Any, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
    """One token, (B, D) -> (B, D), by the mixer's own `step` or else by its `prefill`."""
    if callable(getattr(mixer, "step", None)):
        return mixer.step(x_BD, state)
    y_BLD, state = mixer.prefill(x_BD.unsqueeze(1), state)
    return y_BLD.squeeze(1), state
