"""The page of backbones: written from a whole run, and from one of which a part is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def written(run: Path, out: Path) -> str:
    command = [sys.executable, str(ROOT / "scripts/backbones_results.py"), str(run), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {
        "backbones.md",
        "backbones.json",
        "backbones-pairs.svg",
        "backbones-samples.png",
    }
    return (out / "backbones.md").read_text()


def test_a_page_of_a_whole_run(smoke: Path, tmp_path: Path) -> None:
    text = written(smoke, tmp_path / "out")
    assert "bakeoff run smoke" in text and "Partial" not in text and "not measured" not in text
    assert "| mamba | 0.002 | 0 of 1 |" in text and "| 45,772 |" in text


def test_a_page_of_a_run_that_is_not_finished(smoke: Path, tmp_path: Path) -> None:
    shutil.copytree(smoke, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/trials/hybrid-s0")
    shutil.rmtree(tmp_path / "run/probes")
    text = written(tmp_path / "run", tmp_path / "out")
    assert "**Partial: 2 of 3 trials are done.**" in text and "not measured" in text
    assert "| 44,740 |" in text and "| 45,772 |" not in text
