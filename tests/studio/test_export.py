"""The static export: the flow page with what the server would have sent, in files."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from command import bakeoff
from serving import events

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "pages"
    done = bakeoff("export", run, "--static", out, "--noises", 2)
    assert done.returncode == 0, done.stderr
    assert str(out) in done.stdout
    return out


def test_its_files_hold_what_the_server_sends(exported: Path, client: httpx.Client) -> None:
    def without_times(found: list) -> list:
        return [[name, {key: value for key, value in data.items() if key != "ms"}] for name, data in found]

    assert sorted(path.name for path in (exported / "data").iterdir()) == [
        f"{label}-{noise}.json" for label in range(10) for noise in range(2)
    ]
    sent = events(client, "/api/flow", label=4, noise=1) + events(client, "/api/strip", label=4, noise=1)
    kept = json.loads((exported / "data/4-1.json").read_text())
    assert without_times(kept) == without_times(sent)
    assert json.loads((exported / "run.json").read_text())["noises"] == [0, 1]


def test_the_page_asks_for_nothing_but_its_own_files(exported: Path) -> None:
    page = (exported / "index.html").read_text()
    assert "data-static" in page and 'src="/' not in page and 'href="/' not in page and "http" not in page
    names = {path.name for path in (exported / "static").iterdir()}
    assert "flow.js" in names and not any(name.startswith(("judge", "live")) for name in names)


@pytest.mark.parametrize("there", ["file", "full folder"])
def test_nothing_is_overwritten(run: Path, tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    done = bakeoff("export", run, "--static", out)
    assert done.returncode == 2 and "not an empty folder" in done.stderr
    assert (out if there == "file" else out / "mine").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_without_weights_is_refused(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    for weights in run.rglob("model.safetensors"):
        weights.unlink()
    done = bakeoff("export", run, "--static", tmp_path / "out")
    assert done.returncode == 2 and "no backbone is trained" in done.stderr and not (tmp_path / "out").exists()


def test_weights_that_cannot_be_read_are_told_and_nothing_is_left(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    for weights in run.rglob("model.safetensors"):
        weights.write_bytes(b"no weights")
    done = bakeoff("export", run, "--static", tmp_path / "out")
    assert done.returncode == 2 and "no backbone can be shown: mamba: trials/mamba-s0" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
