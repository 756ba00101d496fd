"""Files of items: what every kind promises, and that digits lie on the disk as they always did."""

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from cases import ASKED, CASES, COLOUR, GREY, PLAIN, SUMS, pixels, same
from PIL import Image

from bakeoff.artefacts import answers as sequences
from bakeoff.artefacts import arrays as archives
from bakeoff.artefacts import text as texts
from bakeoff.artefacts.answers import Answers
from bakeoff.artefacts.base import Items, Kind, build_kind, pack_path, read_items, read_path
from bakeoff.artefacts.contract import check_kind
from bakeoff.artefacts.images import Images
from bakeoff.artefacts.sheets import CAPTION, MARGIN, side_by_side
from bakeoff.artefacts.text import Text
from bakeoff.errors import BakeoffError
from bakeoff.registry import KINDS, plugins_allowed

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("case", CASES)
def test_a_kind_keeps_its_contract(case: str) -> None:
    kind, items = CASES[case]
    failed = [check for check in check_kind(kind, items) if not check.passed]
    assert not failed
    assert same(kind.unpack(kind.pack(items), None), items)


def test_kinds_are_built_by_name() -> None:
    for name in KINDS.built_in:
        assert build_kind(name).name == name
    with pytest.raises(BakeoffError, match="did you mean images"):
        build_kind("image")


# ---- items


def test_items_are_taken_and_put_together_in_order() -> None:
    parts = [GREY.take(0, 2), GREY.take(2, 1), GREY.take(3, 99)]
    assert [len(part) for part in parts] == [2, 1, 2]
    assert same(Items.concatenate(parts), GREY)


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(2), "b": np.zeros(3)}])
def test_items_have_one_length(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        Items(arrays)


def test_parts_with_other_arrays_are_not_put_together() -> None:
    with pytest.raises(ValueError, match="all need the same"):
        Items.concatenate([GREY, Items({"images": GREY["images"]})])


# ---- digits, as runs of format 1 hold them


@pytest.mark.parametrize("labels", [None, np.arange(5, dtype=np.uint8)])
def test_digits_are_packed_to_the_bytes_of_format_1(labels: np.ndarray | None) -> None:
    written = io.BytesIO()
    np.savez_compressed(written, images=GREY["images"], labels=np.array([], np.uint8) if labels is None else labels)
    items = Items({"images": GREY["images"]} if labels is None else {"images": GREY["images"], "labels": labels})
    assert Images().pack(items) == written.getvalue()


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("samples.npz")), ids=lambda path: path.parent.name)
def test_samples_of_format_1_are_read(path: Path) -> None:
    with np.load(path) as stored:
        images, labels = stored["images"], stored["labels"]
    items = read_items(path, Images(), len(images))
    assert np.array_equal(items["images"], images) and np.array_equal(items["labels"], labels)
    first, size = 3, 4
    expected = hashlib.sha256(b"".join(image.tobytes() for image in images[first : first + size])).hexdigest()
    assert Images().digest(items, first, size) == expected


# ---- pictures


def test_grey_is_ink_on_paper_and_colour_is_left_as_it_is() -> None:
    grey, colour = (
        np.asarray(Images().tiles(GREY, 3)),
        np.asarray(Images().tiles(Items({"images": COLOUR["images"]}), 4)),
    )
    assert np.array_equal(grey[:28, 28:56], 255 - GREY["images"][1])
    assert (grey[28:, 56:] == 255).all()  # the last row ends early
    assert np.array_equal(colour[:, 20:40], COLOUR["images"][1])


def test_grids_stand_side_by_side_and_one_in_colour_makes_all_of_it_colour() -> None:
    grey, colour = Images().sheet(GREY), Images().sheet(COLOUR)
    assert side_by_side([("a", grey), ("b", grey)]).mode == "L"
    row = side_by_side([("a", grey), ("b", colour)])
    assert row.mode == "RGB" and row.height == MARGIN * 2 + CAPTION + max(grey.height, colour.height)
    top, left = MARGIN + CAPTION, 2 * MARGIN + grey.width
    assert np.array_equal(np.asarray(row)[top : top + colour.height, left : left + colour.width], np.asarray(colour))


def test_what_was_given_stands_to_the_left() -> None:
    sheet = np.asarray(Images().tiles(COLOUR, 1))[:32]
    assert np.array_equal(sheet[:16, :24], COLOUR["inputs"][0]) and np.array_equal(sheet[:, 24:], COLOUR["images"][0])
    assert (sheet[16:, :24] == 255).all()
    lower = Items({"images": pixels(1, 4, 4), "inputs": pixels(1, 6, 4)})
    assert (np.asarray(Images().tiles(lower, 1))[4:, 4:] == 255).all()  # paper, in grey as well


def test_answers_are_drawn_in_the_colour_of_right_and_wrong() -> None:
    def inks(right: bool) -> set[tuple[int, ...]]:
        one = Items({"text": np.array(["MMM"]), "right": np.array([right])})
        drawn = np.asarray(Text().sheet(one)).reshape(-1, 3)
        return {tuple(map(int, ink)) for ink in drawn}

    assert texts.RIGHT in inks(True) - inks(False) and texts.WRONG in inks(False) - inks(True)


def test_a_sheet_of_many_texts_says_how_many_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Items({"text": np.array(["long " * 400] * 1000)})
    drawn = Text().sheet(many)
    assert drawn.height < Text().sheet(many.take(0, texts.MOST_DRAWN)).height * 2
    said: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, at, text, **_: said.append(text))
    Text().sheet(many)
    assert said[-1] == "and 936 more" and said[texts.MOST_LINES - 1] == "..."


def test_answers_in_sequences_are_drawn_in_the_colour_of_right_wrong_and_open() -> None:
    """The first is right; the second has a wrong one, beside which the truth stands, and an open one."""

    def inks(items: Items, bare: bool) -> set[tuple[int, ...]]:
        picture = Answers().tiles(items, 1) if bare else Answers().sheet(items)
        return {tuple(map(int, ink)) for ink in np.asarray(picture).reshape(-1, 3)}

    shades = [sequences.RIGHT, sequences.WRONG, sequences.OPEN]
    for bare in (True, False):
        right, wrong, open_ = shades if bare else [sequences.TINTS[one] for one in shades]
        first, second = inks(ASKED.take(0, 1), bare), inks(ASKED.take(1, 1), bare)
        assert right in first and not {wrong, open_} & first
        assert {wrong, open_} <= second and right not in second


def test_a_sheet_of_many_sequences_says_how_many_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Items({name: np.repeat(array, 20, 0) for name, array in ASKED.arrays.items()})
    few = many.take(0, sequences.MOST_DRAWN)
    said: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, at, text, **_: said.append(text))
    drawn = Answers().sheet(many)
    assert "and 24 more" in said and drawn.height == Answers().sheet(few).height + sequences.LINE
    said.clear()
    Answers().sheet(few)
    assert not any("more" in text for text in said)


def test_a_sheet_of_long_sequences_shows_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 tokens are eight rows of 32, so eight sequences fill the 64 rows of a picture."""
    long = Items({name: np.resize(array, (20, 256)) for name, array in ASKED.arrays.items()})
    said: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, at, text, **_: said.append(text))
    drawn = Answers().sheet(long)
    assert "and 12 more" in said and drawn.height == Answers().sheet(long.take(0, 8)).height + sequences.LINE


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("marks", np.full((2, 5), 4, np.uint8), "allowed: 0 to 3"),
        ("tokens", np.full((2, 5), -2, np.int32), "allowed: -1 to"),
        ("truth", np.zeros((2, 4), np.int32), "as the tokens"),
        ("answers", np.zeros((2, 5), np.float32), "whole numbers"),
        ("labels", np.zeros((2, 5), np.int32), "expected tokens, marks"),
    ],
)
def test_other_arrays_are_no_sequences(name: str, array: np.ndarray, said: str) -> None:
    content = archives.pack_arrays({**ASKED.arrays, name: array})
    with pytest.raises(BakeoffError, match=said):
        Answers().unpack(content, 2)


# ---- cells


def test_cells_hold_the_pixels_and_the_strings() -> None:
    cell = Images().cell(COLOUR, 2)
    given = cell.pop("input")
    for name, shown in (("images", cell), ("inputs", given)):
        read = np.frombuffer(base64.b64decode(shown["data"]), np.uint8)
        assert np.array_equal(read.reshape(shown["height"], shown["width"], shown["channels"]), COLOUR[name][2])
    assert Text().cell(SUMS, 1) == {"kind": "text", "input": "1 + 3 =", "text": "5", "truth": "4", "right": False}
    assert Text().cell(PLAIN, 0) == {"kind": "text", "text": "one"}
    asked = Answers().cell(ASKED, 1)
    assert asked["kind"] == "answers" and asked["tokens"] == [4, 8, 4, 1, -1] and asked["truth"] == [-1, -1, 8, -1, 2]


def test_a_kind_that_says_nothing_of_cells_shows_a_picture() -> None:
    class Bare(Images):
        cell = Kind.cell

    cell = Bare().cell(GREY, 1)
    picture = Image.open(io.BytesIO(base64.b64decode(cell["image"].partition(",")[2])))
    assert cell["kind"] == "picture" and np.array_equal(np.asarray(picture)[::2, ::2], 255 - GREY["images"][1])


def test_control_characters_of_a_model_reach_no_file_and_no_page() -> None:
    wild = Items({"text": np.array(["a\x1b[2Jb", "\ud800", "x\x00y", "\u202eabc"])})
    content = Text().pack(wild)
    read = Text().unpack(content, 4)
    assert read["text"].tolist() == ["a\\x1b[2Jb", "\\ud800", "x\\x00y", "\\u202eabc"]
    assert Text().pack(read) == content
    assert Text().cell(wild, 0)["text"] == "a\\x1b[2Jb"
    assert Text().digest(wild, 1, 2) == Text().digest(read, 1, 2)


# ---- paths


@pytest.mark.parametrize("case", ["grey", "colour beside what was given", "answers"])
def test_a_path_is_read_state_by_state(case: str, tmp_path: Path) -> None:
    kind, items = CASES[case]
    states = [items.take(0, 2), items.take(1, 2), items.take(0, 2)]
    path = tmp_path / f"path{kind.suffix}"
    path.write_bytes(pack_path(kind, states))
    found = read_path(path, kind, 2)
    assert len(found) == 3 and all(map(same, found, states))
    with pytest.raises(BakeoffError, match="6 items are no whole number of states of 4"):
        read_path(path, kind, 4)


def test_states_of_a_path_are_of_the_same_items() -> None:
    for states in ([], [GREY, GREY.take(0, 2)]):
        with pytest.raises(ValueError, match="all need the same number"):
            pack_path(Images(), states)


# ---- plug-ins


class Numbers(Kind):
    """As a plug-in may write it: one number an item, one a line."""

    name, suffix = "numbers", ".txt"

    def pack(self, items: Items) -> bytes:
        return "".join(f"{x!r}\n" for x in items["x"].tolist()).encode()

    def unpack(self, content: bytes, count: int | None) -> Items:
        if not content.endswith(b"\n"):
            raise BakeoffError("torn")
        x = np.array([float(line) for line in content.split()])
        if count not in (None, len(x)):
            raise BakeoffError(f"{len(x)} numbers")
        return Items({"x": x})

    def sheet(self, items: Items, columns: int = 8) -> Image.Image:
        return Image.new("L", (8, 8 * len(items)))


NUMBERS = Items({"x": np.array([0.5, 1.5, 2.5])})


def test_a_small_plug_in_keeps_the_contract() -> None:
    assert [check.name for check in check_kind(Numbers(), NUMBERS) if not check.passed] == []


BROKEN = {
    "it reads back what it wrote": {"unpack": lambda self, content, count: NUMBERS.take(0, 2)},
    "it refuses another number of items": {"unpack": lambda self, content, count: Numbers.unpack(self, content, None)},
    "it refuses a file that was cut": {"unpack": lambda self, content, count: NUMBERS},
    "its sheet is a picture within bounds": {"sheet": lambda self, items, columns=8: Image.new("CMYK", (8, 8))},
    "its tiles are a picture within bounds": {"tiles": lambda self, items, columns: Image.new("L", (8, 1 << 15))},
    "its cells are JSON": {"cell": lambda self, items, i: {"kind": "numbers", "x": items["x"]}},
    "its digest tells items apart": {"digest": lambda self, items, first, size: "0" * 64},
}


@pytest.mark.parametrize("clause", BROKEN)
def test_a_kind_that_breaks_the_contract_is_found_out(clause: str) -> None:
    broken = type("Broken", (Numbers,), BROKEN[clause])()
    assert clause in [check.name for check in check_kind(broken, NUMBERS) if not check.passed]


def test_a_plug_in_is_named_by_its_module() -> None:
    with plugins_allowed():
        kind = build_kind(f"{__name__}:Numbers")
    assert kind.unpack(kind.pack(NUMBERS), 3)["x"].tolist() == NUMBERS["x"].tolist()
    assert json.dumps(kind.cell(NUMBERS, 0))
