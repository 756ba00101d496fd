"""The kind `answers`: sequences of symbols with questions in them, and what was answered.

Shapes: B sequences, L tokens.
"""

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bakeoff.artefacts.arrays import pack_arrays, unpack_arrays
from bakeoff.artefacts.base import Items, Kind
from bakeoff.errors import BakeoffError

OTHER, KEY, FACT, ASKED = range(4)  # marks: what a token is; a fact is what is asked for
UNKNOWN = -1
NAMES = ("tokens", "marks", "answers", "truth")
MOST_TOKENS = 65_536
MOST_SYMBOL = 1 << 24

FONT_SIZE = 11
CELL, LINE, MARGIN, GAP = 26, 17, 8, 10  # pixels
ACROSS = 32  # tokens a row of the picture
MOST_DRAWN, MOST_LINES, MOST_ROWS = 16, 16, 64  # sequences of a picture, rows of one, and rows of all
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (165, 165, 165)
SHADES = {KEY: (214, 228, 247), FACT: (247, 236, 205)}
RIGHT, WRONG, OPEN = (0, 110, 50), (180, 30, 30), (110, 110, 110)
TINTS = {RIGHT: (204, 236, 212), WRONG: (250, 210, 208), OPEN: (232, 232, 232)}
DOT = 6  # pixels of a token in tiles
DOTS = {OTHER: (236, 236, 236), KEY: (150, 180, 225), FACT: (225, 190, 110)}
Colour = tuple[int, int, int]


class Answers(Kind):
    """Arrays (B, L): `tokens`, `marks` (other, key, fact, asked), `answers` and `truth`, which are -1 where nothing is
    asked, or nothing is answered yet."""

    name = "answers"
    suffix = ".npz"
    many = 12

    def pack(self, items: Items) -> bytes:
        arrays = _checked(items).arrays
        return pack_arrays({name: arrays[name] for name in NAMES})

    def unpack(self, content: bytes, count: int | None) -> Items:
        return _checked(Items(unpack_arrays(content, count)))

    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        """Sequences below each other, whatever `columns`, and how many are left out: under each asked key its answer,
        and the truth where it is wrong."""
        length = min(items["tokens"].shape[1], ACROSS * MOST_LINES)
        lines = -(-length // ACROSS)
        shown = min(len(items), MOST_DRAWN, MOST_ROWS // lines)
        block = lines * (3 * LINE) + GAP
        height, more = MARGIN + shown * block, len(items) - shown
        picture = Image.new("RGB", (2 * MARGIN + ACROSS * CELL, height + (LINE if more else 0)), PAPER)
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
        if more:
            pen.text((MARGIN, height - GAP // 2), f"and {more} more", fill=FAINT, font=font)
        for i in range(shown):
            for t in range(length):
                left, top = MARGIN + t % ACROSS * CELL, MARGIN + i * block + t // ACROSS * 3 * LINE
                for row, (text, ink, shade) in enumerate(_token(items, i, t)):
                    if shade is not None:
                        pen.rectangle((left, top + row * LINE, left + CELL - 3, top + (row + 1) * LINE - 3), fill=shade)
                    pen.text((left + 2, top + row * LINE), text, fill=ink, font=font)
        return picture

    def tiles(self, items: Items, columns: int) -> Image.Image:
        """A dot for each token: blue keys, yellow facts; answers grey while open, then green or red."""
        length, shown = items["tokens"].shape[1], len(items)
        across, down = min(length, ACROSS), -(-length // ACROSS)
        size = (across + 1) * DOT, (down + 1) * DOT
        picture = Image.new("RGB", (columns * size[0], -(-shown // columns) * size[1]), PAPER)
        pen = ImageDraw.Draw(picture)
        for i in range(shown):
            for t in range(length):
                left = i % columns * size[0] + t % ACROSS * DOT
                top = i // columns * size[1] + t // ACROSS * DOT
                pen.rectangle((left, top, left + DOT - 2, top + DOT - 2), fill=_dot(items, i, t))
        return picture

    def cell(self, items: Items, i: int) -> dict[str, Any]:
        return {"kind": self.name, **{name: items[name][i].tolist() for name in NAMES}}


def _judged(answer: int, truth: int) -> Colour:
    return OPEN if answer == UNKNOWN else RIGHT if answer == truth else WRONG


def _dot(items: Items, i: int, t: int) -> Colour:
    _, mark, answer, truth = (int(items[name][i, t]) for name in NAMES)
    return DOTS.get(mark) or _judged(answer, truth)


def _token(items: Items, i: int, t: int) -> list[tuple[str, Colour, Colour | None]]:
    """The lines of one token: text, ink, shade."""
    token, mark, answer, truth = (int(items[name][i, t]) for name in NAMES)
    if mark != ASKED:
        shade = SHADES.get(mark)
        return [(str(token), FAINT if shade is None else INK, shade)]
    ink = _judged(answer, truth)
    lines: list[tuple[str, Colour, Colour | None]] = [("?" if token == UNKNOWN else str(token), INK, SHADES[KEY])]
    lines.append(("?" if answer == UNKNOWN else str(answer), ink, TINTS[ink]))
    return [*lines, (f"({truth})", FAINT, None)] if ink == WRONG else lines


def _checked(items: Items) -> Items:
    """Raises BakeoffError for arrays that are not of this kind."""
    if {*items.arrays} != {*NAMES}:
        raise BakeoffError(f"arrays named {', '.join(items.arrays)[:80]}; expected {', '.join(NAMES)}.")
    shape = items["tokens"].shape
    for name, array in items.arrays.items():
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape != shape:
            raise BakeoffError(
                f"{name} are {array.dtype} of shape {array.shape}; expected whole numbers as the tokens."
            )
        low, high = (OTHER, ASKED) if name == "marks" else (UNKNOWN, MOST_SYMBOL)
        if array.size and not low <= array.min() <= array.max() <= high:
            raise BakeoffError(f"{name} from {array.min()} to {array.max()}; allowed: {low} to {high}.")
    if not 1 <= shape[1] <= MOST_TOKENS:
        raise BakeoffError(f"{shape[1]} tokens; allowed: 1 to {MOST_TOKENS}.")
    return items
