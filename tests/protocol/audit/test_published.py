"""Published tables are files of strangers: whatever they hold, there is an audit or a clear error."""

import copy
import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.errors import BakeoffError
from bakeoff.protocol.audit.checks import LossFloor, audit
from bakeoff.protocol.audit.published import load_table, parse_table

PUBLISHED = (Path(__file__).parents[3] / "examples/published.toml").read_bytes()
DOCUMENT = tomllib.loads(PUBLISHED.decode())


def survives(document: dict[str, Any]) -> bool:
    """Whether the table is accepted; then its audit is JSON. If it is not, the error is for the user."""
    try:
        table = parse_table(document, "a table")
    except BakeoffError as error:
        assert str(error).startswith("a table: not a valid published table:\n  ") or "exceeds" in str(error).lower()
        return False
    found = audit(table, LossFloor(0.078, "measured before"))
    assert json.dumps(asdict(found), allow_nan=False)
    return True


NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(), st.sampled_from([0, 1e-9, 1e15, 10**12, 1e308, 1e-308])
)
LEAVES = st.one_of(NUMBERS, st.booleans(), st.text(max_size=20), st.dates(), st.datetimes())
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    return [path] * bool(path) + [place for key, value in inner for place in places(value, (*path, key))]


@given(st.lists(st.tuples(st.sampled_from(places(DOCUMENT)), VALUES), min_size=1, max_size=3))
def test_any_value_in_any_place_gives_an_audit_or_a_clear_error(changes) -> None:
    document = copy.deepcopy(DOCUMENT)
    for place, value in changes:
        node = document
        try:
            for key in place[:-1]:
                node = node[key]
            node[place[-1]] = value
        except (TypeError, KeyError, IndexError):  # an earlier change took the place away
            continue
    survives(document)


@given(st.sampled_from([place for place in places(DOCUMENT) if place[-1] != "name"]), NUMBERS)
def test_any_number_gives_an_audit_or_a_clear_error(place, number) -> None:
    document = copy.deepcopy(DOCUMENT)
    node: Any = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = number
    survives(document)


@given(st.dictionaries(st.sampled_from([*DOCUMENT, "other"]), VALUES))
def test_any_document_gives_an_audit_or_a_clear_error(document: dict[str, Any]) -> None:
    survives(document)


@settings(max_examples=300)
@given(st.data())
def test_damaged_files_give_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    content = bytearray(PUBLISHED)
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 40))
        content[at : at + length] = data.draw(st.binary(max_size=8))
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(bytes(content))
    try:
        audit(load_table(str(path)))
    except BakeoffError as error:
        assert str(path) in str(error)


DEEP = "a" + ".a" * 20_000
HOSTILE = {
    "too large": ("#" * (1 << 16) + "\n", "larger than 65536 bytes"),
    "a deep key": (f"{DEEP} = 1", "more than 32 parts"),
    "a deep header": (f"[{DEEP}]", "more than 32 parts"),
    "a deep key behind a quoted one": (f"'=' . {DEEP} = 1", "more than 32 parts"),
    "a deep key in a table": (f"a = {{ {DEEP} = 1 }}", "more than 32 parts"),
    "nested lists": ("a = " + "[" * 30_000, "recursion"),
    "nested tables": ("a = " + "{a=" * 15_000, "recursion"),
    "a long number": ("a = " + "9" * 60_000, "not valid TOML"),
    "a long hexadecimal number": ("a = 0x" + "f" * 60_000, "not a valid published table"),
    "quotes": ('"\\' * 30_000, "not valid TOML"),
    "many mistakes": ("\n".join(f"a{i} = 1" for i in range(5000)), "and 4981 more"),
    "many backbones": ('[[backbone]]\nname = "a"\n' * 2000, "at most 64"),
}


@pytest.mark.parametrize("content,said", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_few_words(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text(content)
    with pytest.raises(BakeoffError, match=said) as error:
        load_table(str(path))
    assert len(str(error.value)) < 20_000


WRONG = {
    "unknown key": ({"setup": {"token": 196}}, "setup.token: unknown key (did you mean tokens?)"),
    "unknown key of a backbone": ({"backbone": [{"name": "a", "parms": 1}]}, "did you mean params?"),
    "unknown section": ({"claims": []}, "did you mean claim?"),
    "no name": ({"backbone": [{}]}, "backbone.0.name: missing"),
    "no backbones": ({"backbone": []}, "backbone = []"),
    "same names": ({"backbone": [{"name": "a"}, {"name": "a"}]}, "names must differ, given a, a"),
    "words for a number": ({"setup": {"tokens": "196"}}, "setup.tokens = '196'"),
    "yes for a number": ({"setup": {"epochs": True}}, "setup.epochs = True"),
    "below zero": ({"backbone": [{"name": "a", "step_ms": -1.0}]}, "backbone.0.step_ms = -1.0"),
    "not a number": ({"backbone": [{"name": "a", "final_loss": float("nan")}]}, "final_loss = nan"),
    "beyond measure": ({"backbone": [{"name": "a", "params": 1e300}]}, "less than or equal to 1"),
    "samples": ({"backbone": [{"name": "a", "samples": "good"}]}, "'clean' or 'noise'"),
    "range": ({"setup": {"pixel_range": [1.0, -1.0]}}, "two rising numbers"),
    "both arrangements": (
        {"backbone": [{"name": "a", "mixers": ["mlp"], "blocks": [{"mixer": "mlp"}]}]},
        "mixers (with repeats) or blocks, not both",
    ),
    "a stranger wins": ({"verdict": {"winner": "b"}}, "no backbone is called b; there are a"),
    "control characters": ({"claim": [{"text": "\x1b[2J"}]}, r"claim.0.text = '\x1b[2J'"),
    "control characters in a key": ({"setup": {"\x1b[2J": 1}}, r"setup.'\x1b[2J': unknown key"),
}


@pytest.mark.parametrize("change,said", WRONG.values(), ids=WRONG)
def test_mistakes_are_named_with_what_is_allowed(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(tomli_w.dumps({"backbone": [{"name": "a"}]} | change))
    with pytest.raises(BakeoffError) as error:
        load_table(str(path))
    assert said in str(error.value) and "\x1b" not in str(error.value)
