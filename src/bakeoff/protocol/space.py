"""The space of a task's tokens: how many there are, and of what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """What a backbone reads and predicts.

    Attributes:
        length: L, tokens that are generated or predicted.
        channels: C > 0: tokens are numbers, (B, L, C) float32.
        vocabulary: V > 0: tokens are symbols, (B, L) int64 in [0, V).
        targets: Y > 0: each token has a target of its own, in [0, Y), that is predicted at its place and never read.
        context: K, tokens that are given and never predicted; they are read before the L.
        context_channels: values of a context token; 0 where context is symbols of the same vocabulary.
        classes: labels 0 ... classes - 1; the label `classes` means hidden. 0: no labels.
        grid: how the L tokens lie, (H, W) or (X, Y, Z), in raster order; empty where they lie in a row.
    """

    length: int
    channels: int = 0
    vocabulary: int = 0
    targets: int = 0
    context: int = 0
    context_channels: int = 0
    classes: int = 0
    grid: tuple[int, ...] = ()
