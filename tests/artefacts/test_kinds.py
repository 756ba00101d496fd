"""Files of items: what every kind promises, and that digits lie on the disk as they always did."""

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bakeoff.artefacts import answers as sequences
from bakeoff.artefacts import arrays as archives
from bakeoff.artefacts import text as texts
from bakeoff.artefacts.answers import Answers
from bakeoff.artefacts.base import Items, Kind, build_kind, pack_path, read_items, read_path
from bakeoff.artefacts.contract import check_kind
from bakeoff.artefacts.images import MOST_SIDE, Images
from bakeoff.artefacts.sheets import CAPTION, MARGIN, side_by_side
from bakeoff.artefacts.text import Text
from bakeoff.errors import BakeoffError
from bakeoff.registry import KINDS

GOLDEN = Path(__file__).parents[1] / "golden"


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


GREY = Items({"images": pixels(5, 28, 28), "labels": np.arange(5, dtype=np.uint8)})
COLOUR = Items({"images": pixels(4, 32, 20, 3), "inputs": pixels(4, 16, 24, 3, seed=1)})
PLAIN = Items({"text": np.array(["one", "tw\no", "", "vier ä\t漢"])})
SUMS = Items(
    {
        "text": np.array(["4", "5", "7 " * 300]),
        "input": np.array(["2 + 2 =", "1 + 3 =", "x" * 500]),
        "truth": np.array(["4", "4", "7"]),
        "right": np.array([True, False, False]),
    }
)
ASKED = Items(
    {
        "tokens": np.array([[3, 9, 0, 3, 5], [4, 8, 4, 1, -1]], np.int32),
        "marks": np.array([[1, 2, 0, 3, 0], [1, 2, 3, 0, 3]], np.uint8),
        "answers": np.array([[-1, -1, -1, 9, -1], [-1, -1, 7, -1, -1]], np.int32),
        "truth": np.array([[-1, -1, -1, 9, -1], [-1, -1, 8, -1, 2]], np.int32),
    }
)
CASES: dict[str, tuple[Kind, Items]] = {
    "grey": (Images(), GREY),
    "grey, without labels": (Images(), Items({"images": pixels(3, 7, 9)})),
    "colour beside what was given": (Images(), COLOUR),
    "one pixel": (Images(), Items({"images": pixels(2, 1, 1)})),
    "large": (Images(), Items({"images": pixels(2, MOST_SIDE, 300, 3)})),
    "text": (Text(), PLAIN),
    "answers": (Text(), SUMS),
    "sequences": (Answers(), ASKED),
    "a long sequence": (Answers(), Items({name: np.repeat(ASKED[name], 200, 1) for name in ASKED.arrays})),
}


def same(one: Items, other: Items) -> bool:
    return one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(one[name], other[name]) for name in one.arrays
    )


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


# ---- hostile files


def npz(**arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def zipped(method: int = zipfile.ZIP_DEFLATED, **entries: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return packed.getvalue()


def header(array: np.ndarray) -> bytes:
    """As numpy writes an array, without its data."""
    packed = io.BytesIO()
    np.lib.format.write_array_header_1_0(packed, np.lib.format.header_data_from_array_1_0(array))
    return packed.getvalue()


TWO = pixels(2, 3, 4)
REFUSED_IMAGES = {
    "empty": (b"", "not a zip"),
    "no zip": (b"x" * 300, "not a zip"),
    "no arrays": (zipped(), "arrays of \\[\\] rows"),
    "objects": (npz(images=np.array([{}, {}], object)), "object.*expected numbers"),
    "strings": (npz(images=np.array(["a", "b"])), "expected numbers"),
    "one too many": (npz(images=pixels(3, 3, 4)), "expected 2 items"),
    "none": (npz(images=pixels(0, 3, 4)), "rows"),
    "a number": (npz(images=np.uint8(3)), "expected 2 items"),
    "floats": (npz(images=TWO / 1.0), "float64.*expected uint8"),
    "vectors": (npz(images=pixels(2, 3)), "expected uint8 of shape"),
    "four colours": (npz(images=pixels(2, 3, 4, 4)), "expected uint8 of shape"),
    "no pixels": (npz(images=pixels(2, 3, 0)), "1 to 2048 pixels"),
    "too many pixels": (npz(images=np.zeros((2, 1, 2049), np.uint8)), "1 to 2048 pixels"),
    "only labels": (npz(labels=np.arange(2)), "expected images"),
    "too few labels": (npz(images=TWO, labels=np.arange(1)), "expected 2 items"),
    "labels in floats": (npz(images=TWO, labels=np.zeros(2)), "one whole number an item"),
    "an unknown array": (npz(images=TWO, code=np.arange(2)), "expected images, and labels or inputs"),
    "grey from colour": (npz(images=TWO, inputs=pixels(2, 3, 4, 3)), "grey or colour as the images are"),
    "less than it declares": (zipped(images=header(TWO)), "do not fit together"),
    "more than it declares": (zipped(images=header(TWO) + bytes(25)), "do not fit together"),
    "more than it could": (zipped(images=header(np.broadcast_to(np.uint8(0), (2, 1 << 30, 1 << 20)))), "fit together"),
    "another compression": (zipped(zipfile.ZIP_LZMA, images=header(TWO) + bytes(24)), "not an array as numpy writes"),
    "many arrays": (npz(**{f"a{i}": np.zeros(2) for i in range(20)}), "allowed: 16"),
}
REFUSED_TEXT = {
    "empty": (b"", "0 whole lines"),
    "one too few": (b'{"text": "a"}\n', "expected 2"),
    "a torn line": (b'{"text": "a"}\n{"text": "b"}', "1 whole lines"),
    "not JSON": (b'{"text": "a"}\n{"text"\n', "line 2"),
    "not UTF-8": (b'{"text": "a"}\n{"text": "\xff"}\n', "line 2"),
    "a list": (b'{"text": "a"}\n["b"]\n', "line 2: no object of text"),
    "nested": (b"[" * 100_000 + b'\n{"text": "a"}\n', "line 1"),
    "no text": (b'{"text": "a"}\n{"input": "b"}\n', "line 2: no object of text"),
    "an unknown key": (b'{"text": "a"}\n{"text": "b", "x": 1}\n', "line 2: no object of text"),
    "a number": (b'{"text": "a"}\n{"text": 1}\n', "line 2: text is 1"),
    "right in words": (b'{"text": "a", "right": true}\n{"text": "b", "right": "yes"}\n', "line 2: right is"),
    "a long number": (b'{"text": "a"}\n{"text": ' + b"9" * 5000 + b"}\n", "line 2"),
    "different keys": (b'{"text": "a"}\n{"text": "b", "input": "c"}\n', "different keys"),
    "control characters": (b'{"text": "a"}\n{"text": "\\u001b[2J"}\n', "line 2: control characters"),
    "half a character": (b'{"text": "a"}\n{"text": "\\ud800"}\n', "line 2: control characters"),
    "a long line": (b'{"text": "a"}\n{"text": "' + b"x" * texts.LARGEST_LINE + b'"}\n', "line 2: longer than"),
}
HOSTILE = [("images", name, *case) for name, case in REFUSED_IMAGES.items()]
HOSTILE += [("text", name, *case) for name, case in REFUSED_TEXT.items()]


@pytest.mark.parametrize(
    "kind,content,said", [(k, c, s) for k, _, c, s in HOSTILE], ids=[f"{k}: {n}" for k, n, _, _ in HOSTILE]
)
def test_hostile_files_are_refused_in_words(kind: str, content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(BakeoffError, match=said):
        build_kind(kind).unpack(content, 2)
    path = tmp_path / "samples"
    path.write_bytes(content)
    with pytest.raises(BakeoffError, match=said) as refused:
        read_items(path, build_kind(kind), 2)
    assert str(refused.value).startswith(f"{path}: ") and str(refused.value).isprintable()


def test_nothing_large_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb is refused by what it declares: none of its data is read."""
    monkeypatch.setattr(archives.npy, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    bomb = npz(images=np.zeros((4, 2048, 2048, 3), np.uint8))
    monkeypatch.setattr(archives, "LARGEST_UNPACKED", 1 << 20)
    for content, count, said in (
        (bomb, 4, "would unpack to"),
        (npz(images=np.zeros((9, 9, 9), np.uint8)), 4, "4 items"),
    ):
        with pytest.raises(BakeoffError, match=said):
            Images().unpack(content, count)


def test_one_long_string_does_not_widen_many(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Text().pack(Items({"text": np.array(["a"] * 999 + ["b" * 1000])}))
    monkeypatch.setattr(texts, "LARGEST_UNPACKED", 1 << 20)
    with pytest.raises(BakeoffError, match="would unpack to 4000000 bytes"):
        Text().unpack(content, 1000)


def test_a_file_that_is_not_there_or_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BakeoffError, match="missing"):
        read_items(tmp_path / "x.npz", Images(), 2)
    (tmp_path / "x.npz").write_bytes(npz(images=TWO))
    monkeypatch.setattr("bakeoff.artefacts.base.LARGEST_FILE", 100)
    with pytest.raises(BakeoffError, match="larger than 100 bytes"):
        read_items(tmp_path / "x.npz", Images(), 2)


@pytest.mark.parametrize(
    "items", [Items({"images": TWO / 1.0}), Items({"x": TWO}), Items({"images": TWO, "labels": TWO})]
)
def test_items_of_no_kind_are_not_packed(items: Items) -> None:
    with pytest.raises(BakeoffError, match="expected"):
        Images().pack(items)
    with pytest.raises(BakeoffError, match="expected text"):
        Text().pack(items)


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


def test_a_plug_in_is_named_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.registry._allowed", True)
    kind = build_kind(f"{__name__}:Numbers")
    assert kind.unpack(kind.pack(NUMBERS), 3)["x"].tolist() == NUMBERS["x"].tolist()
    assert json.dumps(kind.cell(NUMBERS, 0))
