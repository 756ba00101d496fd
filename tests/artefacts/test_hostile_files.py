"""Files of items from strangers: refused in words, and nothing large is unpacked."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases import pixels

from bakeoff.artefacts import arrays as archives
from bakeoff.artefacts import text as texts
from bakeoff.artefacts.base import Items, build_kind, read_items
from bakeoff.artefacts.images import Images
from bakeoff.artefacts.text import Text
from bakeoff.errors import BakeoffError


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
