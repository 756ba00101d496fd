"""The rotation by places in plain PyTorch, for tests of what it does to queries and keys."""

from torch import Tensor

from bakeoff.models.mixers.rope import turns
from bakeoff.ops.fused.heads import rotated_halves


def rotated(x: Tensor, places_Ld: Tensor) -> Tensor:
    """Of (..., L, P), tokens at the places."""
    return rotated_halves(x, *turns(places_Ld, x.shape[-1] // 2))
