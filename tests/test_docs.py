"""The pages: every command in them runs, every link leads somewhere, the reference is not stale."""

import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving import studio

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOO_LONG = (
    "bakeoff run protocols/",
    "bakeoff run mnist-",
    "bakeoff run recall-",
    "bakeoff calibrate ",
)  # minutes each; their plans are tried instead


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("bakeoff ")]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all pages, with the examples and the protocols in it."""
    folder = tmp_path_factory.mktemp("pages")
    for path in (ROOT / "examples").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    for name in ("protocols", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for page in PAGES:
        for name, code in MODULES.findall(page.read_text()):
            (folder / name).write_text(code)
    return folder


MODULES = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)  # a block that begins with a file's name


NAMES = re.compile(r"\bbakeoff(?:\.[A-Za-z_]\w*)+")
FILES = re.compile(r"(?<![\w/.-])(?:src|tests|scripts|benchmarks|examples|protocols|docs)/[\w./-]*\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for module, names in re.findall(r"from (bakeoff[\w.]*) import ([\w, ]+)", text):
        text += " ".join(f" {module}.{name.strip()}" for name in names.split(","))
    for name in set(NAMES.findall(text)):
        pkgutil.resolve_name(name)
    missing = {path for path in FILES.findall(text) if not (ROOT / path).exists()}
    assert not missing


DONE: set[str] = set()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_runs(page: Path, here: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for command in commands(page):
        if command.startswith(TOO_LONG):
            command = "bakeoff plan " + shlex.split(command)[2]
        if command in DONE:
            continue
        if command.startswith("bakeoff studio "):  # serves until it is ended
            with studio(here / shlex.split(command)[2]):
                continue
        done = subprocess.run(command, shell=True, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        DONE.add(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_references_are_not_stale() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from write_reference import pages
    finally:
        sys.path.pop(0)
    for path, text in pages().items():
        assert path.read_text() == text, "run: python scripts/write_reference.py"
