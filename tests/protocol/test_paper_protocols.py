"""The protocols that ask what makes the study's Transformer give noise: each changes one thing and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from bakeoff.protocol.presets import load_protocol

PROTOCOLS = Path(__file__).parents[2] / "protocols"
CHANGES = {
    "as-described": {},
    "adaln": {("model", "conditioning"): ("head", "adaln")},
    "no-positions": {("model", "positions"): ("sinusoidal", "none")},
    "lr-3e-4": {("training", "lr"): (1e-4, 3e-4)},
}


def leaves(document: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {}
    for key, value in document.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def transformer_of(source: str) -> dict[tuple[str, ...], Any]:
    """All that the training, sampling and judging of the Transformer with seed 0 depend on."""
    document = load_protocol(source).document()
    document["backbones"] = [one for one in document["backbones"] if one["name"] == "transformer"]
    document["seeds"] = document["seeds"][:1]
    for key in ("name", "description"):
        del document[key]
    del document["mixers"]["mamba"], document["rule"]
    return leaves(document)


@pytest.mark.parametrize("name", CHANGES)
def test_one_thing_is_changed(name: str) -> None:
    base, ours = transformer_of("mnist-paper"), transformer_of(str(PROTOCOLS / f"paper-transformer-{name}.toml"))
    assert base.keys() == ours.keys()
    assert {key: (base[key], ours[key]) for key in base if base[key] != ours[key]} == CHANGES[name]


def test_with_adaln_it_is_the_preset_with_adaln() -> None:
    assert transformer_of(str(PROTOCOLS / "paper-transformer-adaln.toml")) == transformer_of("mnist-paper-adaln")
