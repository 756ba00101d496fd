"""The wheel: all that ships is inside, its tag is honest, and it runs without a compiler and away from the source."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from bakeoff import __version__
from bakeoff.ops.dispatch import NATIVE

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="manylinux is Linux's")]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """Built by the command of the Makefile; minutes, unless nothing has changed since."""
    made = subprocess.run(["make", "wheel", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = (ROOT / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and nothing else; what it depends on is found where the tests have it."""
    home = tmp_path_factory.mktemp("bare")
    python = home / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", home / "env"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    (there,) = (home / "env").glob("lib/python*/site-packages")
    (there / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return home


def call(bare: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """In the environment, away from the source, with a PATH on which there is nothing else."""
    environment = {"PATH": str(bare / "env" / "bin"), "HOME": str(bare), "OMP_NUM_THREADS": "1"}
    command, *rest = map(str, arguments)
    done = [bare / "env" / "bin" / command, *rest]
    return subprocess.run(done, cwd=bare, env=environment, capture_output=True, text=True, timeout=600)


def module(wheel: Path) -> bytes:
    """The compiled module's bytes."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if re.fullmatch(r"bakeoff/_native\..*\.so", name)]
        return archive.read(name)


def test_all_that_ships_is_inside_and_nothing_else(wheel: Path) -> None:
    files = [path.relative_to(SOURCE) for path in (SOURCE / "bakeoff").rglob("*") if path.is_file()]
    ships = {path.as_posix() for path in files if "__pycache__" not in path.parts and path.suffix != ".so"}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        inside = {name for name in names if not re.match(r"bakeoff-[^/]*/|bakeoff/_native\.", name)}
        assert inside == ships
        for name in ("bakeoff/protocol/presets/smoke.toml", "bakeoff/data/mnist/train-images-idx3-ubyte.xz"):
            assert archive.read(name) == (SOURCE / name).read_bytes()


def test_the_tag_is_no_older_than_the_symbols_that_the_module_needs(wheel: Path) -> None:
    tag = re.search(r"manylinux_2_(\d+)_", wheel.name)
    assert tag is not None and wheel.name.startswith(f"bakeoff-{__version__}-")
    needed = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", module(wheel))}
    assert needed and max(needed) <= int(tag[1])
    assert b"GLIBCXX_" not in module(wheel) and b"libstdc++.so" not in module(wheel)


def test_it_runs_without_a_compiler_and_without_the_source(bare: Path) -> None:
    where = call(bare, "python", "-P", "-c", "import bakeoff; print(bakeoff.__file__)").stdout.strip()
    assert Path(where).is_relative_to(bare), where
    assert call(bare, "bakeoff", "--version").stdout == f"bakeoff {__version__}\n"
    found = call(bare, "bakeoff", "doctor", "--json")
    assert found.returncode == 0, found.stderr
    assert {one["backend"] for one in json.loads(found.stdout)["kernels"].values()} == {"native"}


def test_it_has_the_kernels_of_all_instruction_sets(bare: Path) -> None:
    show = "from bakeoff import _native; print(*_native.instruction_sets())"
    assert NATIVE is not None
    assert call(bare, "python", "-P", "-c", show).stdout.split() == NATIVE.instruction_sets()


def test_a_run_and_its_report(bare: Path) -> None:
    done = call(bare, "bakeoff", "run", "smoke", "--threads", 1, "--out", "run", "--progress", "text")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict:" in done.stdout and not os.path.lexists(ROOT / "run")
    seal = json.loads((bare / "run" / "seal.json").read_text())
    assert seal["code"] == {"version": __version__, "commit": None, "dirty": None}
    done = call(bare, "bakeoff", "report", "run")
    assert done.returncode == 0 and (bare / "run" / "report" / "report.html").stat().st_size > 100_000
