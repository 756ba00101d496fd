"""A real run, small enough to be interrupted many times: one backbone, 120 steps, a checkpoint every ten."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

TRIAL = "hybrid-s0"
BACKBONE = 'backbones=[{name="hybrid", mixers=["mamba", "attention", "mlp"]}]'
SETS = [
    BACKBONE,
    "training.ema=0.9",
    "training.batch=8",
    "training.steps=120",
    "task.train_images=200",
    "bar.samples=32",
    "sampling.count=8",
    "sampling.steps=2",
]
COMMAND = [sys.executable, "-m", "bakeoff"]


def run_command(out: Path, *more: str) -> list[str]:
    sets = [part for one in SETS for part in ("--set", one)]
    return [*COMMAND, "run", "smoke", *sets, "--out", str(out), "--threads", "1", "--checkpoint-every", "0", *more]


def start(out: Path, *more: str, **named: Any) -> subprocess.Popen[str]:
    """In a session of its own, and with a SIGINT that works though the tests may run in the background."""
    prepare, environment = named.pop("prepare", lambda: None), named.pop("environment", os.environ)

    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare()

    return subprocess.Popen(
        run_command(out, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=before,
        **named,
    )


def finish(out: Path, *more: str, **named: Any) -> tuple[int, str]:
    """Runs to its end; exit code and what it said on standard error."""
    process = start(out, *more, **named)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def results(out: Path) -> dict[str, object]:
    """All that must not depend on how often a run was interrupted: losses, weights, samples, scores, pictures."""
    trial = out / "trials" / TRIAL
    measurement = json.loads((trial / "measurement.json").read_text())
    with np.load(trial / "samples.npz", allow_pickle=False) as samples:
        images, labels = samples["images"].tobytes(), samples["labels"].tobytes()
    files = {path.name for path in trial.iterdir()}
    assert files == {"metrics.jsonl", "model.safetensors", "samples.npz", "path.npz", "grid.png", "measurement.json"}
    return {
        "losses": (trial / "metrics.jsonl").read_bytes(),
        "weights": (trial / "model.safetensors").read_bytes(),
        "images": images,
        "labels": labels,
        "path": (trial / "path.npz").read_bytes(),
        "scores": measurement["quality"],
        "loss": measurement["loss"],
        "slope": measurement["loss_slope_per_epoch"],
        "pictures": (trial / "grid.png").read_bytes() + (out / "samples.png").read_bytes(),
        "protocol": (out / "protocol.toml").read_bytes(),
    }
