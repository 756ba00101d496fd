"""Recall goes the whole way: run, verdict, verify, report, blind votes, the studio's flows; also without steps."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bakeoff.artefacts.answers import ASKED
from bakeoff.artefacts.base import read_path
from bakeoff.judging import sessions
from bakeoff.registry import plugins_allowed
from bakeoff.rundir.ledger import read_ledger
from bakeoff.rundir.sealed import as_sealed
from bakeoff.studio.flows import Flows
from bakeoff.studio.query import query_of
from bakeoff.tasks import build_task
from bakeoff.trial.path import PATH_ITEMS
from command import bakeoff
from small_recall import SETS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NAMES = {"mqar": "recall-ladder", "copying": "recall-share"}  # whose results are drawn as curves
BACKBONES = (
    'backbones=[{name = "mamba", mixers = ["silent:Silent", "mamba"]}, {name = "transformer", mixers = ["attention"]}]'
)
SILENT = '''
import torch
class Silent(torch.nn.Module):
    """Sums what came before; it cannot go on token by token."""
    reads, width_name = "one way", "width"
    def __init__(self, d_model, width, *, direction="forward"):
        super().__init__()
        self.up, self.down = torch.nn.Linear(d_model, width), torch.nn.Linear(width, d_model)
    def forward(self, x):
        return self.down(torch.tanh(self.up(x)).cumsum(1) / x.shape[1])
'''


@pytest.fixture(scope="module", params=["mqar", "copying"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp(request.param)
    (home / "silent.py").write_text(SILENT)
    changes = {**SETS, "task.variant": request.param, "name": NAMES[request.param]}
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    sets += ["--set", BACKBONES]
    arguments = ("--allow-plugins", "--threads", 1, "--out", "run")
    done = bakeoff("run", "recall-smoke", *sets, *arguments, cwd=home)
    assert done.returncode == 0, done.stderr
    return home / "run"


@pytest.fixture
def allowed(run: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(run.parent)
    with plugins_allowed():
        yield


def test_it_has_a_verdict_over_accuracies(run: Path) -> None:
    assert bakeoff("verify", run).returncode == 0
    verdict = json.loads(bakeoff("verdict", run, "--json", "--allow-plugins", cwd=run.parent).stdout)
    assert verdict["rule"]["quality"] == "accuracy"
    for one in verdict["backbones"].values():
        assert set(one["figures"]) >= {"loss", "accuracy", "solved"} and 0 <= one["figures"]["accuracy"] <= 1


def test_its_files_hold_what_was_asked_and_answered(run: Path, allowed: None) -> None:
    opened, _ = as_sealed(run)
    task = build_task(opened.protocol)
    for trial in opened.trials():
        items, measured = trial.items(), trial.measurement()
        asked = items["marks"] == ASKED
        assert len(items) == 40 and (items["answers"][asked] >= 0).all() and (items["truth"][asked] >= 0).all()
        assert measured.quality is not None
        again = task.assess(items, task.prompts(40))
        assert measured.quality.figures == pytest.approx(
            again.figures | {"held_out_loss": measured.quality.figures["held_out_loss"]}
        )
        states = read_path(trial.states, opened.kind, PATH_ITEMS)
        answered = [int((state["answers"] >= 0).sum()) for state in states]
        assert answered[0] == 0 and answered == sorted(answered) and answered[-1] == PATH_ITEMS * 2
        assert len(states) == (3 if opened.protocol.task.model_dump()["variant"] == "copying" else 2)


def test_it_has_a_report(run: Path) -> None:
    done = bakeoff("report", "run", "--allow-plugins", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    page = (run / "report" / "report.html").read_text()
    assert "sequences all right" in page and "data:image/png" in page


def test_people_judge_it_blind(run: Path, allowed: None, tmp_path: Path) -> None:
    opened, _ = as_sealed(Path(shutil.copytree(run, tmp_path / "run")))
    session = sessions.begin(opened, "Ann")
    for item in session.shown:
        sessions.cast(opened, session.id, item, "clean")
    assert len(sessions.reveal(opened, session.id).backbones) == 2


async def _events(run: Path, asked: dict[str, str]) -> list:
    opened, _ = as_sealed(run)
    flows = Flows()
    try:
        return [event async for event in flows.stream(opened, query_of(opened, asked)) if event]
    finally:
        flows.close()


def test_the_studio_shows_a_chosen_sequence_and_a_typed_one(run: Path, allowed: None) -> None:
    import asyncio

    opened, _ = as_sealed(run)
    task = build_task(opened.protocol)
    frames = [data for name, data in asyncio.run(_events(run, {"noise": "3"})) if name == "frame"]
    expected = task.items(task.prompts(4).truth["answers"], task.prompts(4))["tokens"][3]  # pyright: ignore[reportOptionalSubscript]
    assert all(frame["cell"]["tokens"] == expected.tolist() for frame in frames)
    assert {frame["backbone"] for frame in frames} == {"mamba", "transformer"}
    if not task.example:
        return
    typed = task.example.split()
    found = asyncio.run(_events(run, {"prompt": " ".join(typed)}))
    cells = [data["cell"] for name, data in found if name == "frame"]
    assert all(cell["tokens"] == list(map(int, typed)) for cell in cells)


def test_a_mixer_without_steps_is_assessed_by_forward_passes(run: Path, allowed: None) -> None:
    """The answers of the backbone that cannot go on are those of a pass over all that is known, place by place."""
    opened, _ = as_sealed(run)
    mine, theirs = opened.trial("mamba", 0).measurement(), opened.trial("transformer", 0).measurement()
    assert mine.nfe == theirs.nfe and mine.quality is not None
    assert np.isfinite(mine.quality.figures["accuracy"])
    copying = opened.protocol.task.model_dump()["variant"] == "copying"
    assert any("Silent: no start and prefill" in note for note in mine.notes) == copying
    assert not any("no start and prefill" in note for note in theirs.notes)
    done = bakeoff("check-plugin", "silent:Silent", "--json", cwd=run.parent)
    assert done.returncode == 0 and "cannot decode token by token" in done.stdout


def test_samples_are_drawn_to_a_picture(run: Path) -> None:
    checkpoint = run / "trials" / "transformer-s0" / "model.safetensors"
    done = bakeoff("sample", checkpoint, "--count", 6, "--out", "six.png", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert "temperature 0.0" in done.stdout and (run.parent / "six.png").is_file()
    refused = bakeoff("sample", checkpoint, "--steps", 3, cwd=run.parent)
    assert refused.returncode == 2 and "this model samples by decoding; allowed: --temperature" in refused.stderr


def test_a_page_of_results_is_written_from_it_and_from_pilots(run: Path, tmp_path: Path) -> None:
    def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    pilots = tmp_path / "pilots.json"
    options = ("--set", "training.steps=21", "--only", "transformer", "--list", pilots)
    done = script("pilot", "recall-smoke", "--seed", 100, *options)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(pilots.read_text())["pilots"]
    assert found["backbone"] == "transformer" and len(found["losses"]) == 10 and "accuracy" in found["figures"]
    refused = script("pilot", "recall-smoke", "--seed", 0, *options)
    assert refused.returncode == 2 and "the protocol's own" in refused.stderr
    done = script("recall_results", run, "--pilots", pilots, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "recall.md").read_text()
    assert "Tries: transformer 1." in page and "| mamba-s0 |" in page and "all eliminated" in page
    digest = read_ledger(run).digest
    assert digest is not None and digest in page
    assert "Control: transformer is attention alone and passes in 0 of 1 seeds; it did NOT behave" in page
    assert "threads 1; seeds 0." in page
    name = NAMES["copying" if "copying" in str(run) else "mqar"]
    assert f"]({name}.svg)" in page and (tmp_path / "out" / f"{name}.svg").read_text().startswith("<svg")
    assert (tmp_path / "out" / f"recall-{name}.png").is_file() == (name == "recall-share")
