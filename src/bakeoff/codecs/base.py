"""The contract of a codec: how items become tokens and back."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from bakeoff.protocol.space import Space


class Codec(ABC):
    """Items to tokens of about unit variance, and back; frozen.

    Attributes:
        space: of its tokens; a task adds labels and context.
    """

    space: Space

    @abstractmethod
    def encode(self, items: Tensor) -> Tensor: ...

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor: ...

    def fingerprint(self) -> str | None:
        """SHA-256 of what was trained, hex; None where nothing was."""
        return None

    def stem(self, d_model: int) -> nn.Module | None:
        """A trained embedding of its tokens, where a linear map will not do."""
        return None
