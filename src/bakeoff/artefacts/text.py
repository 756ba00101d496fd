"""The kind `text`: strings, with what was given, what is true, and whether it is right, where that is known."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bakeoff.artefacts.base import Items, Kind
from bakeoff.errors import BakeoffError, printable

FIELDS = ("input", "text", "truth", "right")  # in this order in a line
LARGEST = 64 << 20  # bytes
LARGEST_LINE = 1 << 20  # bytes
MOST_ITEMS = 100_000
LARGEST_UNPACKED = 512 << 20  # bytes, all arrays together; numpy keeps every string as wide as the longest

FONT_SIZE = 13
LINE = 17  # pixels from line to line
WRAP = 44  # characters a line
MOST_LINES = 10  # of one string
MOST_COLUMNS = 3
MOST_DRAWN = 64  # items of a picture
MARGIN = 10
PAPER, INK, GIVEN = (255, 255, 255), (20, 20, 20), (110, 110, 110)
RIGHT, WRONG = (0, 110, 50), (180, 30, 30)
Line = tuple[str, tuple[int, int, int]]


class Text(Kind):
    """Arrays: `text` of strings (B,); optional `input` and `truth` of strings, and `right` bool.

    A file has one JSON object an item, one a line. Control characters are written out before: terminals obey them.
    """

    name = "text"
    suffix = ".jsonl"

    def pack(self, items: Items) -> bytes:
        arrays = _checked(items).arrays
        columns = {name: arrays[name].tolist() for name in FIELDS if name in arrays}
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return "".join(json.dumps(_cleaned(row), ensure_ascii=False) + "\n" for row in rows).encode()

    def unpack(self, content: bytes, count: int | None) -> Items:
        found, wanted = content.count(b"\n"), f"1 to {MOST_ITEMS}" if count is None else f"{count}"
        if len(content) > LARGEST:
            raise BakeoffError(f"larger than {LARGEST} bytes.")
        if not content.endswith(b"\n") or not 1 <= found <= MOST_ITEMS or count not in (None, found):
            raise BakeoffError(f"{found} whole lines; expected {wanted}, and nothing behind the last.")
        rows = [_row(number, line) for number, line in enumerate(content.split(b"\n")[:-1], 1)]
        if any(row.keys() != rows[0].keys() for row in rows):
            raise BakeoffError("lines with different keys; expected the same in all.")
        texts = [name for name in rows[0] if name != "right"]
        width = sum(max(len(row[name]) for row in rows) for name in texts)
        if 4 * width * len(rows) > LARGEST_UNPACKED:
            raise BakeoffError(f"would unpack to {4 * width * len(rows)} bytes; allowed: {LARGEST_UNPACKED}.")
        return Items({name: np.array([row[name] for row in rows]) for name in rows[0]})

    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        blocks, font = (
            [_block(self.cell(items, i)) for i in range(min(len(items), MOST_DRAWN))],
            ImageFont.load_default(FONT_SIZE),
        )
        if len(items) > MOST_DRAWN:
            blocks.append([(f"and {len(items) - MOST_DRAWN} more", GIVEN)])
        columns = max(1, min(columns, MOST_COLUMNS, len(blocks)))
        width = MARGIN + int(max((font.getlength(text) for block in blocks for text, _ in block), default=0))
        rows = [blocks[first : first + columns] for first in range(0, len(blocks), columns)]
        heights = [MARGIN + LINE * max(map(len, row)) for row in rows]
        picture = Image.new("RGB", (MARGIN + columns * width, MARGIN + sum(heights)), PAPER)
        pen, y = ImageDraw.Draw(picture), MARGIN
        for row, height in zip(rows, heights, strict=True):
            for column, block in enumerate(row):
                for place, (text, ink) in enumerate(block):
                    pen.text((MARGIN + column * width, y + place * LINE), text, fill=ink, font=font)
            y += height
        return picture

    def cell(self, items: Items, i: int) -> dict[str, Any]:
        found = {name: items[name][i].item() for name in FIELDS if name in items}
        return {"kind": self.name, **_cleaned(found)}


def _checked(items: Items) -> Items:
    """Raises BakeoffError for arrays that are not of this kind."""
    if "text" not in items or not items.arrays.keys() <= {*FIELDS}:
        raise BakeoffError(f"arrays named {', '.join(items.arrays)[:80]}; expected text, and input, truth or right.")
    for name, array in items.arrays.items():
        if array.ndim != 1 or array.dtype.kind != ("b" if name == "right" else "U"):
            wanted = "one bool" if name == "right" else "one string"
            raise BakeoffError(f"{name}: {array.dtype} of shape {array.shape}; expected {wanted} an item.")
    return items


def _cleaned(row: dict[str, Any]) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _row(number: int, line: bytes) -> dict[str, Any]:
    """Raises BakeoffError for a line that `pack` would not write."""
    try:
        if len(line) > LARGEST_LINE:
            raise ValueError(f"longer than {LARGEST_LINE} bytes")
        row = json.loads(line.decode())
        if not isinstance(row, dict) or "text" not in row or not row.keys() <= {*FIELDS}:
            raise ValueError("no object of text, and input, truth or right")
        for name, value in row.items():
            if not isinstance(value, bool if name == "right" else str):
                raise ValueError(f"{name} is {json.dumps(value)[:40]}")
        if _cleaned(row) != row:
            raise ValueError("control characters")
        return {name: row[name] for name in FIELDS if name in row}
    except (ValueError, RecursionError) as error:
        raise BakeoffError(f"line {number}: {str(error)[:120]}.") from None


def _block(item: dict[str, Any]) -> list[Line]:
    """The lines that show an item: what was given, the answer, and the truth where the answer is wrong."""
    right = item.get("right")
    lines = list(_wrapped(item["input"], GIVEN)) if "input" in item else []
    lines += _wrapped(item["text"] or "(nothing)", INK if right is None else RIGHT if right else WRONG)
    if right is False and "truth" in item:
        lines += _wrapped(f"expected: {item['truth']}", GIVEN)
    return lines


def _wrapped(text: str, ink: tuple[int, int, int]) -> Iterator[Line]:
    room = WRAP * MOST_LINES
    lines = [part for line in text[:room].split("\n") for part in textwrap.wrap(line, WRAP) or [""]]
    if len(lines) > MOST_LINES or len(text) > room:
        lines = [*lines[: MOST_LINES - 1], "..."]
    return ((line, ink) for line in lines)
