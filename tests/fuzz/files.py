"""Good files of every kind that a stranger may send, made small."""

import io
import json
import pickle
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch

from bakeoff.artefacts.base import Items
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.foreign_checkpoints import HEADER
from bakeoff.tasks import build_task
from bakeoff.trial.candidate import candidate_of
from bakeoff.trial.checkpoint import pack_state, save_model

SMALL = ["model.d_model=8", "mixers.mamba.d_state=2", "mixers.attention.heads=2", "budget.params=4000"]
SMALL += ["budget.tolerance=2.0", "bar.samples=2", "sampling.count=2", "seeds=[0, 1]"]
PROTOCOL = load_protocol("smoke", SMALL)
HYBRID = PROTOCOL.backbones[2]
CANDIDATE = candidate_of(build_task(PROTOCOL), HYBRID)
WIDTHS = {"mamba": 8, "attention": 8, "mlp": 8}


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return CANDIDATE.blueprint.build(WIDTHS).state_dict()


def safetensors_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "x.safetensors", weights(), PROTOCOL, HYBRID.name, WIDTHS)
        return (Path(folder) / "x.safetensors").read_bytes()


def header() -> bytes:
    return json.dumps(
        {"protocol": PROTOCOL.model_dump(mode="json"), "backbone": HYBRID.name, "widths": WIDTHS}
    ).encode()


def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": weights(), HEADER: header().decode(), "epoch": 3}, buffer)
    return buffer.getvalue()


def state_file() -> bytes:
    return pack_state({"trainer": {"model": weights(), "step": 3}, "wall_s": 1.0, "resumed": 0, "of": "x"})


def digits(count: int) -> Items:
    images = np.random.default_rng(0).integers(0, 255, (count, 28, 28), np.uint8)
    return Items({"images": images, "labels": np.arange(count, dtype=np.uint8)})


def sequences(count: int) -> Items:
    tokens = np.arange(6 * count, dtype=np.int32).reshape(count, 6)
    marks = np.tile(np.array([1, 2, 0, 3, 0, 3], np.uint8), (count, 1))
    asked = np.where(marks == 3, tokens, -1)
    return Items({"tokens": tokens, "marks": marks, "answers": asked, "truth": asked})


def answers(count: int) -> Items:
    texts = np.array([f"{i} + {i} = {2 * i}" for i in range(count)])
    return Items({"text": texts, "input": texts, "truth": texts, "right": np.arange(count) % 2 == 0})


def batch_file() -> bytes:
    """A pickled batch in the form of CIFAR-10's."""
    return pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}, protocol=4)


def archive_file() -> bytes:
    """A .tar.gz with one file in a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("in/file")
        info.size = 3000
        archive.addfile(info, io.BytesIO(bytes(3000)))
    return packed.getvalue()
