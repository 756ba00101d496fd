"""The contract of a kind, checked on some of its items."""

import json
import re
from collections.abc import Callable

import numpy as np
from PIL import Image

from bakeoff.artefacts.base import Items, Kind
from bakeoff.artefacts.sheets import png
from bakeoff.errors import BakeoffError
from bakeoff.models.contract import ContractCheck

LARGEST_PICTURE = 1 << 14  # pixels a side


def check_kind(kind: Kind, items: Items) -> list[ContractCheck]:
    """Every clause of the contract, each on its own: a clause that raises fails with the error as its detail.

    Args:
        items: two to a few dozen of them, no two the same.
    """
    bench = _Bench(kind, items)
    clauses: list[tuple[str, Callable[[], str]]] = [
        ("it reads back what it wrote", bench.round_trip),
        ("it refuses another number of items", bench.counts),
        ("it refuses a file that was cut", bench.refuses_cuts),
        ("its sheet is a picture within bounds", lambda: bench.picture(kind.sheet(items))),
        ("its tiles are a picture within bounds", lambda: bench.picture(kind.tiles(items, 4))),
        ("its cells are JSON", bench.cells),
        ("its digest tells items apart", bench.digests),
    ]
    return [_check(name, clause) for name, clause in clauses]


def _check(name: str, clause: Callable[[], str]) -> ContractCheck:
    try:
        return ContractCheck(name, True, clause())
    except AssertionError as error:
        return ContractCheck(name, False, str(error))
    except Exception as error:  # a plug-in may raise anything; that is what is being found out
        return ContractCheck(name, False, f"{type(error).__name__}: {error}")


class _Bench:
    def __init__(self, kind: Kind, items: Items) -> None:
        self.kind, self.items = kind, items

    def round_trip(self) -> str:
        content = self.kind.pack(self.items)
        assert content == self.kind.pack(self.items), "the same items give different bytes"
        found = self.kind.unpack(content, len(self.items))
        assert found.arrays.keys() == self.items.arrays.keys(), f"{[*self.items.arrays]} became {[*found.arrays]}"
        for name, array in found.arrays.items():
            assert np.array_equal(array, self.items[name]), f"{name} differs from what was packed"
        one = self.items.take(0, 1)
        assert len(self.kind.unpack(self.kind.pack(one), 1)) == 1, "one item alone is not read"
        return f"{len(content):,} bytes of {len(self.items)} items"

    def counts(self) -> str:
        content = self.kind.pack(self.items)
        for count in (len(self.items) - 1, len(self.items) + 1):
            self._refused(content, count, f"{len(self.items)} items were read where {count} were expected")
        return "one less, one more"

    def refuses_cuts(self) -> str:
        content = self.kind.pack(self.items)
        lengths = sorted({0, 1, len(content) // 2, len(content) - 1})
        for length in lengths:
            self._refused(content[:length], len(self.items), f"{length} of {len(content)} bytes were read")
        return f"at {', '.join(map(str, lengths))} bytes"

    def _refused(self, content: bytes, count: int, otherwise: str) -> None:
        try:
            self.kind.unpack(content, count)
        except BakeoffError:
            return
        raise AssertionError(otherwise)

    def picture(self, found: Image.Image) -> str:
        assert isinstance(found, Image.Image), f"returns {type(found).__name__}, not a picture"
        assert found.mode in ("L", "RGB"), f"of mode {found.mode}; allowed: L, RGB"
        assert min(found.size) >= 1 and max(found.size) <= LARGEST_PICTURE, f"of {found.width} x {found.height} pixels"
        return f"{found.width} x {found.height} pixels, {len(png(found)):,} bytes"

    def cells(self) -> str:
        for i in range(len(self.items)):
            cell = self.kind.cell(self.items, i)
            assert isinstance(cell.get("kind"), str), f"no kind in {[*cell]}"
            assert json.loads(json.dumps(cell, allow_nan=False)) == cell, "changes as JSON"
        return f"{len(self.items)} cells"

    def digests(self) -> str:
        count = len(self.items)
        alone = {self.kind.digest(self.items, i, 1) for i in range(count)}
        assert all(re.fullmatch("[0-9a-f]{64}", one) for one in alone), "no SHA-256 in hex"
        assert len(alone) == count, f"{count} different items have {len(alone)} digests"
        whole = self.kind.digest(self.items, 0, count)
        for i in range(count):
            other = Items.concatenate(
                [self.items.take(0, i), self.items.take((i + 1) % count, 1), self.items.take(i + 1, count)]
            )
            assert self.kind.digest(other, 0, count) != whole, f"item {i} can be another one"
        stored = self.kind.unpack(self.kind.pack(self.items), count)
        assert self.kind.digest(stored, 0, count) == whole, "a file of the same items has another digest"
        return f"{count} items"
