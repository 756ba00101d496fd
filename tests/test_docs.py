"""The pages: every command in them runs, every link leads somewhere, the reference is not stale."""

import os
import pkgutil
import re
import shlex
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bakeoff import __version__
from bakeoff.protocol.presets import load_protocol
from bakeoff.trial.plan import lint_plan, make_plan, refuse_errors
from command import bakeoff
from serving import studio

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Runs of any preset but the smallest, and of the protocols beside them, take minutes each: they are planned instead.
TOO_LONG = re.compile(r"bakeoff (calibrate (?!\S+-smoke)|run (protocols/|(?!\S*smoke\b)\S+(?<!\.toml) ))")


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
    for command in commands(page):
        if command in DONE:
            continue
        _, *arguments = shlex.split(command)
        if TOO_LONG.match(command + " "):
            is_planned(arguments[1], [value for key, value in pairwise(arguments) if key == "--set"])
        elif command.startswith("bakeoff studio "):  # serves until it is ended
            with studio(here / arguments[1]):
                pass
        else:
            done = bakeoff(*arguments, cwd=here, environment=os.environ | {"OMP_NUM_THREADS": "1"})
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        DONE.add(command)


def is_planned(protocol: str, changes: list[str]) -> None:
    """A run of minutes can be sealed: its sizes match, and nothing in it is refused."""
    source = str(ROOT / protocol) if protocol.endswith(".toml") else protocol
    refuse_errors(lint_plan(make_plan(load_protocol(source, changes))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_references_are_not_stale() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from write_reference import pages
    finally:
        sys.path.pop(0)
    for path, text in pages().items():
        assert path.read_text() == text, "run: python scripts/write_reference.py"
