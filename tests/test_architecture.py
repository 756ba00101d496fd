"""The house stands: imports run only downwards, the law imports no torch, and every room is tested in the fast tier."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "bakeoff"
FLOORS = [  # a room may import from rooms below its own floor, and from itself
    {"__main__"},
    {"__init__"},
    {"library"},
    {"cli"},
    {"report", "studio"},
    {"execute"},
    {"judging"},
    {"probes"},
    {"trial"},
    {"rundir"},
    {"tasks"},
    {"metrics", "artefacts", "codecs", "objectives"},
    {"models"},
    {"data", "ops"},
    {"protocol"},
    {"registry", "seeding"},
    {"errors"},
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


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(f"{name} imports torch")
"""


def test_the_law_imports_no_torch() -> None:
    """All in one process, which names the first that does."""
    modules = [module(path) for path in sorted((SOURCE / "protocol").rglob("*.py"))]
    assert len(modules) > 10
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


ROOMS = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file())


@pytest.mark.parametrize("name", ROOMS)
def test_the_fast_tier_has_tests_of_every_room(name: str) -> None:
    """At least one file imports the room and has a test that is not marked slow."""
    assert any(name in imported_rooms(path) and fast_tests_of(path) for path in TESTS.rglob("test_*.py")), (
        f"no test of bakeoff.{name} runs in `make test`"
    )


def fast_tests_of(path: Path) -> list[str]:
    """Names of the test functions without the marker, unless the whole file bears it."""
    body = ast.parse(path.read_text()).body
    if any(isinstance(node, ast.Assign) and ast.unparse(node) == "pytestmark = pytest.mark.slow" for node in body):
        return []
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [one.name for one in functions if "pytest.mark.slow" not in map(ast.unparse, one.decorator_list)]


KNOWN_BY_CONTRACT = {  # a room, and what others may import of it besides its face
    "tasks": {"base", "calibration"},
    "metrics": set(),
    "data": set(),
}
OF_SCIENCE = [path for path in sorted(SOURCE.rglob("*.py")) if room(path) not in KNOWN_BY_CONTRACT]


@pytest.mark.parametrize("path", OF_SCIENCE, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nobody_outside_tasks_names_a_task_a_metric_or_a_data_set(path: Path) -> None:
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bakeoff."):
            _, where, *rest = node.module.split(".")
            if where in KNOWN_BY_CONTRACT and (
                (not rest and where != "tasks") or {*rest[:1]} - KNOWN_BY_CONTRACT[where]
            ):
                named.add(node.module)
    assert not named


def test_no_task_defines_a_loss_a_sampler_or_a_model() -> None:
    """What objectives and the trunk are for; by what a task's class is named to have, and by what it imports."""
    for path in (SOURCE / "tasks").glob("*.py"):
        tree = ast.parse(path.read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not defined & {"loss", "sample", "states", "draws", "build", "forward"}, path
        bases = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
        assert not bases & {"nn.Module", "Module", "Objective"}, path
