"""The ten public names: what their docstrings and the page show is what happens, and importing them is quick."""

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bakeoff
from bakeoff.registry import MIXERS

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
QUICK = """
import sys
import bakeoff as bo
assert not {"torch", "numpy", "pydantic", "rich"} & set(sys.modules), "import bakeoff"
assert bo.load("smoke").seeds == (0,)
assert bo.decide({}, [{"backbone": "one", "seed": 0, "loss": 1.0}]).winner == "one"
assert "torch" not in sys.modules, "load and decide"
"""


@pytest.fixture
def here(smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which holds a finished run of `smoke`; mixers that are registered here are forgotten."""
    monkeypatch.setattr(MIXERS, "_known", dict(MIXERS._known))
    shutil.copytree(smoke, tmp_path / "runs" / "smoke")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_importing_is_quick_and_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ten_names_are_public() -> None:
    assert len(bakeoff.__all__) == 10 and set(bakeoff.__all__) <= set(dir(bakeoff))
    for name in bakeoff.__all__:
        assert getattr(bakeoff, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'runn'; public are BakeoffError, Run"):
        bakeoff.runn  # noqa: B018


@pytest.mark.parametrize("name", [name for name in bakeoff.__all__ if name != "BakeoffError"])
def test_what_a_docstring_shows(name: str, here: Path) -> None:
    found = [one for one in doctest.DocTestFinder().find(getattr(bakeoff, name), name, globs={}) if one.examples]
    assert found, f"bo.{name} shows no example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=LOOSELY)
    for one in found:
        runner.run(one, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_what_the_page_shows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its blocks, one after the other, in one program; they print and assert for themselves."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(block, names)
    assert "Matched to 45,000 parameters" in capsys.readouterr().out
