"""bo.run: stopped and taken up again, outside the main thread, with a plug-in, and without a trace in the process."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bakeoff as bo
from bakeoff.errors import PlugInRefused
from bakeoff.library.running import run as run_it
from bakeoff.registry import MIXERS
from bakeoff.rundir.files import read_json
from bakeoff.rundir.ledger import read_ledger
from bakeoff.trial.events import Started, Stepped

MINE = """
import os
from pathlib import Path
from torch import nn
import bakeoff as bo

Path(f"spin-{os.getpid()}").write_text(os.environ.get("GOMP_SPINCOUNT", "unset"))

@bo.mixer("pointwise")
class Pointwise(nn.Module):
    reads = "token"

    def __init__(self, d_model, width):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, width), nn.Linear(width, d_model)

    def forward(self, x_BLD):
        return self.down(self.up(x_BLD).relu())
"""
SMALL: dict[str, Any] = {
    "plugins": ["pointwise_mixer"],
    "backbones": [{"name": "mine", "mixers": ["pointwise", "mlp"], "repeats": 2}],
    "mixers": None,
    "training.steps": 40,
    "training.batch": 8,
    "task.train_images": 200,
    "bar.samples": 16,
    "sampling.count": 8,
    "sampling.steps": 2,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a mixer of one's own in it, and a process that has no settings of OpenMP."""
    (tmp_path / "pointwise_mixer.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MIXERS, "_known", dict(MIXERS._known))
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path


def stop_early(name: str, event: object) -> None:
    if isinstance(event, Stepped) and event.step >= 10:
        raise KeyboardInterrupt


def test_a_run_is_stopped_and_goes_on_in_another_thread(here: Path) -> None:
    protocol, before = bo.load("smoke", **SMALL), dict(os.environ)
    cpu = bo.local("cpu", threads=1)
    with pytest.raises(PlugInRefused, match="allow_plugins=True"):
        bo.run(protocol, out="run", on=cpu)
    assert not Path("run").exists()
    with pytest.raises(KeyboardInterrupt, match="nothing is lost"):
        bo.run(protocol, out="run", on=cpu, progress=stop_early, allow_plugins=True)

    heard: list[object] = []
    made: list[bo.Run] = []

    def work() -> None:
        listen = lambda name, event: heard.append(event)  # noqa: E731
        made.append(bo.run(protocol, out="run", on=cpu, progress=listen, allow_plugins=True))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (run,) = made
    assert [event.step for event in heard if isinstance(event, Started)] != [0]
    assert run.verdict.outcome in ("winner", "all_eliminated")
    (row,) = run.rows()
    assert row["backbone"] == "mine" and row["step_time_ms"] > 0

    ledger = read_ledger(Path("run")).digest
    again = bo.run(protocol, out="run", on=cpu, allow_plugins=True)  # finds all of it done
    assert again.verdict == run.verdict and read_ledger(Path("run")).digest == ledger

    model, _ = run.candidate("mine")
    assert type(model.branches[0].mixer).__name__ == "Pointwise"
    with pytest.raises(PlugInRefused):
        bo.Run("run").candidate("mine")

    settings = read_json(Path("run/environment.json"))["settings"]
    spins = {int(path.name.partition("-")[2]): path.read_text() for path in here.glob("spin-*")}
    assert spins.pop(os.getpid()) == "unset" and set(spins.values()) == {settings["GOMP_SPINCOUNT"]}
    assert dict(os.environ) == before


def test_a_mixer_of_the_running_program_is_refused_before_anything_is_written(here: Path) -> None:
    bo.mixer("in_a_cell")(type("InACell", (), {"__module__": "__main__"}))
    with pytest.raises(bo.BakeoffError, match=r'notebook that is running.*plugins = \["mine"\]'):
        bo.run(bo.load("smoke", **{"backbones.0.mixers": ["in_a_cell", "mlp"]}), out="run")
    assert not Path("run").exists()


def test_what_cannot_be_run_leaves_no_folder(here: Path) -> None:
    with pytest.raises(bo.BakeoffError, match="device tpu"):
        bo.local("tpu")
    with pytest.raises(bo.BakeoffError, match="no such preset"):
        bo.run("smoak", out="run")
    with pytest.raises(bo.BakeoffError, match="absent"):
        bo.run("smoke", out="run", on=bo.local("cpu", data_dir="absent"))
    assert not Path("run").exists() and bo.run is run_it
