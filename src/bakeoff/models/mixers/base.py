"""The contract of a mixer: a map (B, L, D) -> (B, L, D) that knows nothing of time, class or residuals.

A mixer is built from (d_model, width, **options), keeps its own initialisation, and states its costs:
`flops(L)` of one sample's forward pass, a multiply-add counted as two, and `state_bytes(L)`, what
generation token by token would have to keep after L tokens, in float32.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import nn

FLOAT_BYTES = 4
Direction = Literal["forward", "reverse", "both"]
Reads = Literal["token", "one way", "both ways"]


class Mixer(nn.Module, ABC):
    """The contract of the built-in mixers; a plug-in keeps it without inheriting.

    Class attributes tell the trunk and the matcher what they need to know.

    Attributes:
        expand: nominal width over d_model, as the literature has it.
        width_name: what the width is called, or None if it stays at its nominal value when sizes are matched.
        reads: "token": each for itself; "one way": in one order, and the constructor takes a `direction`; "both ways":
            all of them, and the constructor takes `causal` if it can look at earlier ones alone.
        no_decay: names of its parameters that weight decay should leave alone; norms and biases always are.
    """

    expand: ClassVar[int] = 1
    width_name: ClassVar[str | None] = None
    reads: ClassVar[Reads] = "both ways"
    no_decay: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def flops(self, L: int) -> int: ...

    @abstractmethod
    def state_bytes(self, L: int) -> int: ...
