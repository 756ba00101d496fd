"""The contracts that plug-ins are written against: they change only on purpose, and then the table is written anew:

python tests/golden/test_contracts.py
"""

import inspect
import json
from pathlib import Path
from typing import Any

from bakeoff.artefacts.base import Kind
from bakeoff.codecs.base import Codec
from bakeoff.models.batch import Batch
from bakeoff.models.mixers.base import Mixer
from bakeoff.models.trunk import Trunk
from bakeoff.objectives.base import Objective
from bakeoff.probes.base import Probe
from bakeoff.protocol.space import Space
from bakeoff.tasks.base import Dataset, Task

TABLE = Path(__file__).parent / "contracts.json"
CONTRACTS: tuple[type, ...] = (Space, Batch, Dataset, Task, Codec, Objective, Mixer, Trunk, Kind, Probe)


def described(contract: type) -> dict[str, str]:
    """Its own public names: parameters of what is called, and "attribute" for the rest."""
    found: dict[str, str] = {}
    for name in (*vars(contract).get("__annotations__", {}), *vars(contract)):
        if name.startswith("_") and (name != "__init__" or getattr(contract, "_is_protocol", False)):
            continue
        member: Any = vars(contract).get(name)
        if inspect.isfunction(member):
            parameters = inspect.signature(member).parameters.values()
            kept = [str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters]
            found[name] = f"({', '.join(kept)})"
        else:
            found[name] = "attribute"
    return dict(sorted(found.items()))


def test_the_contracts_are_frozen() -> None:
    frozen = json.loads(TABLE.read_text())
    assert {one.__name__: described(one) for one in CONTRACTS} == frozen


if __name__ == "__main__":
    TABLE.write_text(json.dumps({one.__name__: described(one) for one in CONTRACTS}, indent=1) + "\n")
