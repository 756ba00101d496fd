"""The contract of a mixer: a map (B, L, D) -> (B, L, D) that does not know time, class or residuals.

A mixer is built from (d_model, width, **options), initialises itself, and states its costs: `flops(L)` of one
sample's forward pass, where a multiply-add counts as two, and `state_bytes(L)`, the bytes that generation token by
token would have to keep after L tokens, in float32.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import nn

FLOAT_BYTES = 4
Direction = Literal["forward", "reverse", "both"]
Reads = Literal["token", "one way", "both ways"]


class Mixer(nn.Module, ABC):
    """The contract of the built-in mixers; a plug-in need not inherit from it.

    Class attributes tell the trunk and the matcher what they need to know.

    Attributes:
        expand: nominal width divided by d_model, as in the literature.
        width_name: the name of the width, or None if it stays at its nominal value when sizes are matched.
        reads: "token": each token by itself; "one way": in one order, and the constructor takes a `direction`;
            "both ways": all tokens, and the constructor takes `causal` if the mixer can read only earlier ones.
        no_decay: names of its parameters without weight decay; norms and biases never have it.
    """

    expand: ClassVar[int] = 1
    width_name: ClassVar[str | None] = None
    reads: ClassVar[Reads] = "both ways"
    no_decay: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def flops(self, L: int) -> int: ...

    @abstractmethod
    def state_bytes(self, L: int) -> int: ...
