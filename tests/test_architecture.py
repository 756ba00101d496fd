"""The house stands: imports run only downwards, and the rooms that promised not to import torch do not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "bakeoff"
FLOORS = [  # a room may import from rooms below its own floor, and from itself
    {"__main__"},
    {"cli"},
    {"report", "studio"},
    {"execute"},
    {"judging"},
    {"probes"},
    {"trial"},
    {"run"},
    {"tasks"},
    {"metrics", "artefacts", "codecs", "objectives"},
    {"models"},
    {"data", "ops"},
    {"protocol"},
    {"registry", "seeding"},
    {"errors", "__init__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "bakeoff":
            names += [f"bakeoff.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("bakeoff.")}
    return {name for name in found if name in FLOOR}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_downwards(path: Path) -> None:
    here = room(path)
    assert here in FLOOR, f"{here} has no floor yet"
    upwards = {other for other in imported_rooms(path) if other != here and FLOOR[other] <= FLOOR[here]}
    assert not upwards


@pytest.mark.parametrize(
    "module", [f"protocol.{path.stem}" for path in sorted((SOURCE / "protocol").glob("[a-z]*.py"))]
)
def test_the_law_imports_no_torch(module: str) -> None:
    code = f"import sys, bakeoff.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
