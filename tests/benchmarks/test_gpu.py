"""The GPU benchmark's own path, at toy sizes under Triton's interpreter; and on a card, its correctness section."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("TRITON_INTERPRET", "BAKEOFF_BACKEND")}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True)


@pytest.mark.slow
def test_dry_run_names_the_sections() -> None:
    done = run("--dry-run")
    assert done.returncode == 0
    assert "correctness, scan, ssd, training, waiting, sampling, blocks, captured, compiled" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="pip install 'bakeoff[gpu]'")
def test_toy(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    names = ["correctness", "tune", "scan", "waiting", "blocks", "ssd"]
    done = run("--toy", "--json", str(file), "--only", *names)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert {row["section"] for row in result["rows"]} == set(names)
    assert all(row["passed"] for row in result["rows"] if row["section"] == "correctness")
    assert result["machine"]["device"] == "cpu" and result["machine"]["date"]


def test_a_section_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gpu

    def bad(_: object) -> None:
        raise RuntimeError("no such kernel")

    def good(_: object) -> list[gpu.Row]:
        return [gpu.Row("it runs", 1.0, "ms")]

    monkeypatch.setattr(gpu, "SECTIONS", {"bad": bad, "good": good})
    failed, done = gpu.rows(gpu.Bench(gpu.TOY, torch.device("cpu")), ["bad", "good"], deadline=float("inf"))
    assert failed.passed is False and "no such kernel" in gpu.line(failed)
    assert (done.section, done.name) == ("good", "it runs")


def test_the_crossover_is_where_mamba_is_faster_and_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gpu_sections import crossover

    assert crossover({49: 1.5, 196: 1.1, 784: 0.9, 3136: 0.4}) == 784
    assert crossover({49: 0.9, 196: 1.1, 784: 0.9}) == 784
    assert crossover({49: 0.9, 196: 0.8}) == 49
    assert crossover({49: 0.9, 196: 1.0}) is None


def test_the_page_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gpu_page

    results = ROOT / "docs" / "results"
    found = gpu_page.read(results / "gpu.json")
    assert gpu_page.page(found) == (results / "gpu.md").read_text()
    assert gpu_page.merged([found, found]) == found


def test_a_page_is_of_one_card(tmp_path: Path) -> None:
    one = json.loads((ROOT / "docs" / "results" / "gpu.json").read_text())
    one["machine"]["driver"] = "1.0"
    file = tmp_path / "other.json"
    file.write_text(json.dumps(one))
    command = [sys.executable, "-m", "benchmarks.gpu_page", "docs/results/gpu.json", str(file), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "differ in driver" in done.stderr
    assert not (tmp_path / "gpu.md").exists()


def test_of_many_cases_the_worst_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gpu_page import worst
    from benchmarks.row import Row

    rows = [Row(f"scan float32 {n}", error, "", "<= 2e-06", error <= 2e-6) for n, error in enumerate((1e-6, 3e-6))]
    wrong = Row("scan float32 nan", float("nan"), "", "<= 2e-06", False)
    (shown,) = worst(rows)
    assert shown.value == 3e-6 and shown.passed is False and shown.name == "scan float32, the worst of 2 cases"
    assert worst([rows[0], wrong])[0].passed is False


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_the_card() -> None:
    done = run("--only", "correctness", "waiting")
    assert done.returncode == 0, done.stdout
