"""What trials generate, as files hold it: `Items`, and `Kind`, the contract of a sort of them.

Shapes: B items, S states of a path.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bakeoff.artefacts.sheets import data_uri
from bakeoff.errors import BakeoffError, printable
from bakeoff.registry import KINDS

LARGEST_FILE = 512 << 20  # bytes


@dataclass(frozen=True, eq=False)
class Items:
    """A number of items: named arrays, each with one row an item. What the names mean is the kind's.

    Raises:
        ValueError: no arrays, or arrays of different lengths.
    """

    arrays: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"items of lengths {lengths}; all arrays need the same length")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def take(self, first: int, size: int) -> "Items":
        """Items `first` to `first + size - 1`; fewer where there are not so many."""
        return Items({name: array[first : first + size] for name, array in self.arrays.items()})

    @staticmethod
    def concatenate(parts: Sequence["Items"]) -> "Items":
        """The items of all parts, one part after the other.

        Raises:
            ValueError: no parts, or parts with different arrays.
        """
        names = [tuple(part.arrays) for part in parts]
        if len(set(names)) != 1:
            raise ValueError(f"parts with the arrays {names}; all need the same")
        return Items({name: np.concatenate([part[name] for part in parts]) for name in names[0]})


class Kind(ABC):
    """One sort of items: its file, its picture, and how a page shows it. Keeps no state.

    Attributes:
        name: as a task names it.
        suffix: of its files, with the dot.
        many: how many items of each backbone a page shows at once.
    """

    name: str
    suffix: str
    many: int = 64

    @abstractmethod
    def pack(self, items: Items) -> bytes:
        """The content of a file of these items."""

    @abstractmethod
    def unpack(self, content: bytes, count: int | None) -> Items:
        """The items of a file, which may be a stranger's: nothing in it is run, and nothing large is unpacked unseen.

        Args:
            count: how many it must hold; None for any number.

        Raises:
            BakeoffError: damaged, or not such a file.
        """

    @abstractmethod
    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        """One picture of all items in order, input beside output where there is one; "L" or "RGB"."""

    def tiles(self, items: Items, columns: int) -> Image.Image:
        """The picture for a page that lays items out itself; the sheet, unless the kind has a barer one."""
        return self.sheet(items, columns)

    def cell(self, items: Items, i: int) -> dict[str, Any]:
        """Item `i` as JSON for the studio, which draws it by its key "kind"; any kind may show its picture."""
        return {"kind": "picture", "image": data_uri(self.sheet(items.take(i, 1), 1))}

    def digest(self, items: Items, first: int, size: int) -> str:
        """SHA-256, in hex, of what people see of items `first` to `first + size - 1`."""
        return hashlib.sha256(self.pack(items.take(first, size))).hexdigest()


def build_kind(name: str) -> Kind:
    """The kind of this name. Raises BakeoffError if there is none, or it is a plug-in that may not be loaded."""
    return KINDS.get(name)()


def read_items(path: Path, kind: Kind, count: int | None) -> Items:
    """The items of a file, read by its kind within bounds.

    Args:
        count: how many it must hold; None for any number.

    Raises:
        BakeoffError: missing, too large, damaged, or not so many.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE} bytes")
        return kind.unpack(content, count)
    except FileNotFoundError:
        raise BakeoffError(f"{path}: missing.") from None
    except Exception as error:  # a plug-in's kind may raise anything
        reason = printable(str(error)).strip().removesuffix(".")[:240] or type(error).__name__
        raise BakeoffError(f"{path}: not the {kind.name} of this trial ({reason}).") from error


def pack_path(kind: Kind, states: Sequence[Items]) -> bytes:
    """A file of the way that B items took, S states of each: all items of the first state, of the second, and so on.

    Raises:
        ValueError: no states, or states of different items.
    """
    if len({len(state) for state in states}) != 1:
        raise ValueError(f"states of {[len(state) for state in states]} items; all need the same number")
    return kind.pack(Items.concatenate(states))


def read_path(path: Path, kind: Kind, count: int) -> list[Items]:
    """The states of a file that `pack_path` made, the last one the finished items.

    Args:
        count: B, items a state.

    Raises:
        BakeoffError: as `read_items`, or not whole states.
    """
    items = read_items(path, kind, None)
    if not len(items) or len(items) % count:
        raise BakeoffError(f"{path}: {len(items)} items are no whole number of states of {count} items.")
    return [items.take(first, count) for first in range(0, len(items), count)]
