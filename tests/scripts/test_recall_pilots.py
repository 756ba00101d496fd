"""The lists of pilots: every row's command is one that the protocol of today takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from bakeoff.protocol.presets import load_protocol

ROOT = Path(__file__).parents[2]
PILOTS: list[dict[str, Any]] = [
    one
    for task in ("recall", "tracking")
    for one in json.loads((ROOT / f"docs/results/{task}-pilots.json").read_text())["pilots"]
]


@pytest.mark.parametrize("protocol", sorted({one["protocol"] for one in PILOTS}))
def test_a_pilot_can_be_repeated(protocol: str) -> None:
    source = str(ROOT / protocol) if "/" in protocol else protocol
    for one in PILOTS:
        if one["protocol"] == protocol:
            options = [change for change in one["changes"] if "=" in change]  # the others say what the code was
            loaded = load_protocol(source, options)
            assert one["seed"] not in loaded.seeds and not loaded.to_try
            assert one["backbone"] in {backbone.name for backbone in loaded.backbones}
