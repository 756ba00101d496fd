"""`bakeoff audit`: what it prints, as text and as JSON, and its exit codes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bakeoff import cli, tasks
from bakeoff.objectives.base import Floor

Invoke = Callable[..., tuple[int, str]]
MNIST = Floor(0.078091, 0.000759, 2048)  # tests/objectives/test_floor.py computes it
PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys) -> Invoke:
    """Runs `bakeoff audit` in this process, with a floor that is known at once."""
    monkeypatch.setattr(tasks, "mnist_floor", lambda pixel_range, train_images: MNIST)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["bakeoff", "audit", *arguments])
        try:
            cli.main()
        except SystemExit as done:
            return int(done.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_the_published_table_as_text(examples: Path, invoke: Invoke) -> None:
    code, said = invoke(str(examples / "published.toml"))
    said = " ".join(said.split())
    assert code == 0 and "6 findings" in said
    for part in ("3.52 min, printed 42 min", "in [-1, 1], standard error 0.0008", "mamba wins (indicative)"):
        assert part in said
    assert "0.086 │ 0.07809 │ 1.101" in said


def test_the_page_shows_what_is_printed(examples: Path, invoke: Invoke) -> None:
    _, said = invoke(str(examples / "published.toml"))
    shown = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [line.rstrip() for line in shown[0].splitlines()] == [line.rstrip() for line in said.splitlines()]


def test_the_published_table_as_json(examples: Path, invoke: Invoke) -> None:
    code, said = invoke(str(examples / "published.toml"), "--json")
    document = json.loads(said)
    assert code == 0 and len({finding["check"] for finding in document["findings"]}) == 6
    assert all(set(finding) == {"check", "where", "message"} for finding in document["findings"])
    assert document["verdict"]["winner"] == "mamba" and document["skipped"] == []
    assert document["floor"]["value"] == MNIST.value and document["losses"]["hybrid"] == 0.080


def test_the_consistent_table_and_exit_codes(examples: Path, invoke: Invoke) -> None:
    code, said = invoke(str(examples / "consistent.toml"), "--strict")
    assert code == 0 and "no findings" in said and "not checked" not in said
    assert invoke(str(examples / "published.toml"), "--strict")[0] == 3


def test_names_alone_are_told_what_is_missing_and_no_markup_is_obeyed(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "names.toml"
    path.write_text('[[backbone]]\nname = "a"\nmixers = ["[bold]x[/nothing]"]\nparams = 3.0\n[setup]\nd_model = 8\n')
    code, said = invoke(str(path))
    assert code == 0 and "no findings" in said and "[bold]x[/nothing]" in said
    assert "not checked: tokens (setup): setup.image_size, setup.patch_size, setup.tokens are missing" in said
    assert json.loads(invoke(str(path), "--json")[1])["verdict"] is None
