"""The results page: from real runs, whole and in part, and nothing written where nothing can be said."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ANSWER = "tokens from which Mamba is faster than attention, "
BENCHMARK = {
    "machine": {"device": "some card", "date": "2026-01-01"},
    "rows": [
        {"name": ANSWER + "forward, block against block", "value": 784, "detail": "of 49, 196, 784"},
        {"name": ANSWER + "training, block against block", "value": None, "detail": "none of 49, 196, 784"},
    ],
}


def write_page(out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/paper_results.py"), *map(str, arguments), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_whole_run_beside_the_published_table(smoke: Path, tmp_path: Path) -> None:
    gpu = tmp_path / "gpu.json"
    gpu.write_text(json.dumps(BENCHMARK))
    done = write_page(tmp_path / "out", smoke, "--gpu", gpu)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/mnist-paper.md").read_text()
    document = json.loads((tmp_path / "out/mnist-paper.json").read_text())
    (run,) = document["runs"]
    assert run["complete"] and run["verify"]["outcome"] == "whole" and "Partial" not in text
    assert run["verdict"]["headline"] in text and "device cpu" in text
    for name in ("mamba", "transformer", "hybrid"):
        measured = json.loads((smoke / f"trials/{name}-s0/measurement.json").read_text())
        assert run["trials"][f"{name}-s0"] == measured
    (losses,) = (line for line in text.splitlines() if line.startswith("| loss, last epoch"))
    transformer = run["trials"]["transformer-s0"]
    published, ours = losses.split(" | ")[3:5]
    assert (published, ours) == ("0.092", f"{transformer['loss']:.4g}")
    assert (
        f"| smoke, seed 0 | sinusoidal | adaln | 0.002 | {transformer['quality']['figures']['recognised']:.2f} |"
        in text
    )
    assert "forward, block against block: from 784 tokens on" in text
    assert "training, block against block: at no count that was measured" in text
    for picture in ("mnist-paper-smoke.png", "mnist-paper-smoke-loss.png", "mnist-paper-transformer.png"):
        assert f"({picture})" in text and (tmp_path / "out" / picture).stat().st_size < 200_000


def test_a_part_is_marked(smoke: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(smoke, part)
    shutil.rmtree(part / "trials/hybrid-s0")
    shutil.rmtree(part / "probes")
    done = write_page(tmp_path / "out", part)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/mnist-paper.md").read_text()
    assert "**Partial: 2 of 3 trials are done; missing are hybrid-s0" in text
    assert "**Verdict: incomplete" in text and "not run" in text
    assert "Not measured: there is no output of" in text
    assert not json.loads((tmp_path / "out/mnist-paper.json").read_text())["runs"][0]["complete"]


@pytest.mark.parametrize("what", ["no run", "no trial", "no benchmark"])
def test_bad_input_writes_nothing(what: str, smoke: Path, tmp_path: Path) -> None:
    run, more = tmp_path / "run", []
    if what != "no run":
        shutil.copytree(smoke, run)
    if what == "no trial":
        shutil.rmtree(run / "trials")
    if what == "no benchmark":
        (tmp_path / "gpu.json").write_text("{}")
        more = ["--gpu", tmp_path / "gpu.json"]
    done = write_page(tmp_path / "out", run, *more)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.startswith("paper_results: ")
    assert not (tmp_path / "out").exists()
