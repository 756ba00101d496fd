"""A preset's digest names an experiment: it changes only when the experiment does, and then on purpose."""

import json
from pathlib import Path

import pytest

from bakeoff.protocol.presets import load_protocol, preset_names

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FROZEN: dict[str, str] = json.loads((HERE / "digests.json").read_text())


def source(name: str) -> str:
    return str(ROOT / f"{name}.toml") if "/" in name else name


@pytest.mark.parametrize("name", FROZEN)
def test_the_digest_is_frozen(name: str) -> None:
    assert load_protocol(source(name)).digest() == FROZEN[name]


def test_every_preset_is_in_the_table() -> None:
    assert {*preset_names()} == {name for name in FROZEN if "/" not in name}
