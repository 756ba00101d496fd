"""State tracking goes the whole way: run, verdict, report, and a sequence that a person typed in the studio."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bakeoff.rundir.directory import RunDir
from bakeoff.studio.flows import Flows
from bakeoff.studio.query import query_of
from command import bakeoff

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SMALL = ("training.steps=12", "training.warmup=2", "bar.samples=40", "task.lengths=[3, 8]", "task.test_length=16")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tracking")
    sets = [part for one in SMALL for part in ("--set", one)]
    done = bakeoff("run", "tracking-smoke", *sets, "--threads", 1, "--out", "run", cwd=home)
    assert done.returncode == 0, done.stderr
    return home / "run"


def test_the_verdict_and_the_report_have_its_figures(run: Path) -> None:
    found = json.loads(bakeoff("verdict", run, "--json").stdout)
    assert {*found["figures"]} >= {"tracked", "accuracy"} and {*found["backbones"]} >= {"gru", "mamba3"}
    measured = RunDir.open(run).trial("gru", 0).measurement()
    assert measured.quality is not None and measured.quality.detail["last_place"] == [8, 16]
    assert bakeoff("report", run).returncode == 0
    text = (run / "report/report.md").read_text()
    assert "scaled accuracy at the end" in text and "\n| gru-s0 | 9 | 16 |" in text
    assert "Control: gru passes in 0 of 1 seeds; it did NOT behave" in text


def test_a_page_of_results_is_void_where_the_control_fails(run: Path, tmp_path: Path) -> None:
    pilots = tmp_path / "pilots.json"
    pilots.write_text('{"pilots": []}')
    command = [sys.executable, str(ROOT / "scripts/tracking_results.py"), str(run), "--pilots", str(pilots)]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "tracking.md").read_text()
    assert "**VOID. Control: gru passes in 0 of 1 seeds; it did NOT behave" in text and "| 1 to 8 | 9 to 16 |" in text
    assert (tmp_path / "tracking-tracking-smoke.svg").is_file()


def test_a_shorter_sequence_is_answered(run: Path) -> None:
    opened = RunDir.open(run)

    async def last() -> list[dict[str, Any]]:
        flows = Flows()
        try:
            query = query_of(opened, {"prompt": "1 0 1 1 0"})
            events = [event async for event in flows.stream(opened, query) if event]
        finally:
            flows.close()
        return [data["cell"] for name, data in events if name == "frame"][-4:]

    for cell in asyncio.run(last()):
        assert cell["tokens"] == [1, 0, 1, 1, 0] and cell["truth"] == [1, 1, 0, 1, 1]
        assert {*cell["answers"]} <= {0, 1}
