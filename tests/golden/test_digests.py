"""A preset's digest names an experiment: it changes only when the experiment does, and then on purpose.

After a change on purpose, such as a new format, write the table anew and say why in the commit:

    python tests/golden/test_digests.py
"""

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.protocol.formats import upgrade
from bakeoff.protocol.presets import load_protocol, parse_protocol, preset_names

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = HERE / "digests.json"
FROZEN: dict[str, str] = json.loads(TABLE.read_text())
# what a preset has changed since format 1, taken back
SINCE = {
    "mnist-quick": [
        "sweep=none",
        "training.lr=2e-3",
        "training.epochs=2",
        "rule.sigma=0.008",
        'training.optimiser="adamw"',
        'objective.times="uniform"',
    ]
}
OF_FORMAT_1: dict[str, dict[str, Any]] = json.loads((HERE / "documents-format1.json").read_text())


def source(name: str) -> str:
    return str(ROOT / f"{name}.toml") if "/" in name else name


@pytest.mark.parametrize("name", FROZEN)
def test_the_digest_is_frozen(name: str) -> None:
    assert load_protocol(source(name)).digest() == FROZEN[name]


def test_every_preset_is_in_the_table() -> None:
    assert {*preset_names()} == {name for name in FROZEN if "/" not in name}


@pytest.mark.parametrize("name", OF_FORMAT_1)
def test_a_document_of_format_1_is_the_same_experiment_today(name: str) -> None:
    document = OF_FORMAT_1[name]
    before = json.dumps(document)
    assert parse_protocol(document, name) == load_protocol(source(name), SINCE.get(name, []))
    assert json.dumps(document) == before and upgrade(upgrade(document)) == upgrade(document)


if __name__ == "__main__":
    names = dict.fromkeys([*FROZEN, *preset_names()])
    TABLE.write_text(json.dumps({name: load_protocol(source(name)).digest() for name in names}, indent=1) + "\n")
