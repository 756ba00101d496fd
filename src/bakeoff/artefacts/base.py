"""Artefacts: files of items, and the contract of a kind of item."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Items:
    """Finished items as anyone would save them: arrays by name, all of one length B."""

    arrays: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))

    def take(self, first: int, size: int) -> "Items":
        return Items({name: array[first : first + size] for name, array in self.arrays.items()})
