"""How real files are damaged: bytes flipped, cut, repeated or inserted, and values of documents replaced."""

import copy
import io
import json
import tomllib
import zipfile
from typing import Any

import tomli_w
from hypothesis import strategies as st

NUMBERS = [0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 0.0, -0.0, 0.5, 1e308, 5e-324, -1e308]
TEXTS = ["", "1", "nan", "inf", "../../x", "/etc/passwd", "a\0b", "\ud800", "\x1b[2J", "x" * 300, "os:system", "hybrid"]
SHAPES = [[], {}, [[]], {"": None}, [0] * 40, {"kind": "pixel"}, {"median": 0.0, "p10": 0.0, "p90": 0.0, "count": 0}]
NASTY = st.sampled_from([None, True, False, *NUMBERS, *TEXTS, *SHAPES])
NESTED = st.recursive(
    NASTY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner), max_leaves=5
)
VALUES = st.one_of(NASTY, st.integers(), st.floats(), st.text(max_size=8), NESTED)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """One to four edits, most of them near the start, where headers are."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        reach = draw(st.sampled_from([16, 300, 3000, len(damaged)]))
        place = draw(st.integers(0, max(0, min(reach, len(damaged)) - 1)))
        if draw(st.booleans()) and reach == len(content):
            place = max(0, len(damaged) - 1 - place % 400)  # an archive's directory stands at its end
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "remove", "repeat"])):
            case "flip" if damaged:
                damaged[place] ^= 1 << draw(st.integers(0, 7))
            case "set":
                damaged[place : place + 8] = draw(
                    st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"9" * 8])
                )
            case "cut":
                del damaged[place:]
            case "insert":
                damaged[place:place] = draw(st.binary(min_size=1, max_size=12))
            case "remove":
                del damaged[place : place + draw(st.integers(1, 64))]
            case "repeat":
                damaged[place:place] = damaged[place : place + draw(st.integers(1, 64))] * draw(st.integers(1, 4))
    return bytes(damaged)


@st.composite
def damaged_document(draw: st.DrawFn, document: Any) -> Any:
    """One to three values anywhere in the document replaced, removed, renamed or moved."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            return document
        node, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "swap"])):
            case "replace":
                node[key] = copy.deepcopy(draw(VALUES))
            case "remove":
                del node[key]
            case "rename" if isinstance(node, dict):
                node[draw(st.text(max_size=12))] = node.pop(key)
            case "swap":
                other, there = draw(st.sampled_from(places))
                node[key] = copy.deepcopy(other[there])
    return document


def _places(node: Any) -> Any:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from _places(value)


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with wrong values, or with wrong bytes."""
    if draw(st.integers(0, 3)):
        return json.dumps(draw(damaged_document(json.loads(content)))).encode()
    return draw(damaged_bytes(content))


def damaged_toml(content: bytes) -> st.SearchStrategy[bytes]:
    """Wrong values in TOML."""

    def written(document: Any) -> bytes:
        try:
            return tomli_w.dumps(document).encode(errors="surrogatepass")
        except (TypeError, ValueError, AttributeError):  # has no form in TOML
            return b""

    return damaged_document(tomllib.loads(content.decode())).map(written)


def damaged_archive(content: bytes) -> st.SearchStrategy[bytes]:
    """One entry damaged, with all checksums right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}

    def packed(name: str, damaged: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for entry, whole in entries.items():
                out.writestr(entry, damaged if entry == name else whole)
        return buffer.getvalue()

    names = st.sampled_from([*entries, *[name for name in entries if name.endswith(".pkl")] * 40])
    return names.flatmap(lambda name: damaged_bytes(entries[name]).map(lambda damaged: packed(name, damaged)))


def damaged_lines(content: bytes) -> st.SearchStrategy[bytes]:
    """Wrong values in lines that are JSON."""
    return damaged_document([json.loads(line) for line in content.splitlines()]).map(
        lambda lines: b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    )
