"""The static export: the flow page with what the server would have sent, in files."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from bakeoff.artefacts.base import read_path
from bakeoff.rundir.directory import RunDir
from command import bakeoff
from serving import events

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "pages"
    done = bakeoff("export", run, "--static", out)
    assert done.returncode == 0, done.stderr
    assert str(out) in done.stdout
    return out


def test_its_files_hold_what_the_trials_recorded_as_the_server_would_send_it(
    run: Path, exported: Path, client: httpx.Client
) -> None:
    assert sorted(path.name for path in (exported / "data").iterdir()) == [
        f"{label}-{noise}.json" for label in range(10) for noise in range(2)
    ]
    sent = events(client, "/api/flow", label=4, noise=1) + events(client, "/api/strip", label=4, noise=1)
    kept = json.loads((exported / "data/4-1.json").read_text())
    shape = [(name, data.get("backbone"), data.get("step")) for name, data in sent]
    assert [(name, data.get("backbone"), data.get("step")) for name, data in kept] == shape
    opened = RunDir.open(run)
    path, samples = read_path(opened.trial("mamba", 0).states, opened.kind, 20), opened.trial("mamba", 0).items()
    frames = [data["cell"] for name, data in kept if name == "frame" and data["backbone"] == "mamba"]
    assert frames == [opened.kind.cell(state, 14) for state in path]
    (strip,) = (data["cells"] for name, data in kept if name == "strip" and data["backbone"] == "mamba")
    assert strip == [opened.kind.cell(samples, i) for i in range(len(samples)) if samples["labels"][i] == 4]
    told = json.loads((exported / "run.json").read_text())
    controls = {one["key"]: one for one in told["controls"]}
    assert controls["noise"]["values"] == [0, 1] and "Recorded" in told["note"]
    assert [key for key, one in controls.items() if not one["disabled"]] == ["noise", "label"]


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


def test_paths_that_cannot_be_read_are_told_and_nothing_is_left(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    for path in run.rglob("path.npz"):
        path.write_bytes(b"no path")
    done = bakeoff("export", run, "--static", tmp_path / "out")
    assert done.returncode == 2 and "no backbone can be shown: mamba: trials/mamba-s0" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
