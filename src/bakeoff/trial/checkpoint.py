"""Checkpoints: the trained weights for anyone (safetensors), and the state a stopped trial resumes from."""

import io
import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.velocity import VelocityModel
from bakeoff.protocol.presets import parse_protocol
from bakeoff.protocol.schema import Backbone, Protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.digits import DigitsTask
from bakeoff.trial.rundir import write_atomic

HEADER = "bakeoff"


class Loaded(NamedTuple):
    task: DigitsTask
    model: VelocityModel
    protocol: Protocol
    backbone: Backbone


def save_model(
    path: Path, weights: Mapping[str, Tensor], protocol: Protocol, backbone: str, widths: Mapping[str, int]
) -> None:
    """Weights with all that is needed to build their model again, as one JSON header."""
    header = {
        "format": 1,
        "protocol": protocol.model_dump(mode="json"),
        "backbone": backbone,
        "widths": dict(widths),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomic(path, save(tensors, metadata={HEADER: json.dumps(header)}))


def load_model(path: Path) -> Loaded:
    """A trained model from its file alone, ready to sample.

    Raises:
        BakeoffError: missing, not safetensors, without our header, or weights that do not fit it.
    """
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise BakeoffError(
            f"{path}: no such checkpoint file. "
            + (f"{path.parent} holds {', '.join(beside) or 'nothing'}." if path.parent.is_dir() else "")
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
    except (SafetensorError, OSError, struct.error) as error:
        raise BakeoffError(f"{path}: not a readable safetensors file ({error}).") from error
    if HEADER not in metadata:
        raise BakeoffError(f"{path}: has no bakeoff header; give a model.safetensors of a run's trial.")
    try:
        header = json.loads(metadata[HEADER])
        protocol = parse_protocol(header["protocol"], f"{path} (header)")
        backbone = next(one for one in protocol.backbones if one.name == header["backbone"])
        task = build_task(protocol)
        model = task.build(backbone, {str(kind): int(width) for kind, width in header["widths"].items()})
    except (ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
        raise BakeoffError(f"{path}: its bakeoff header is damaged ({error!r}).") from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise BakeoffError(f"{path}: the weights do not fit their header: {error}") from None
    return Loaded(task, model.eval().requires_grad_(False), protocol, backbone)


def save_state(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """State saved by `save_state`; only tensors and plain values are read, no code is run.

    Raises:
        BakeoffError: damaged, or not such a file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise BakeoffError(
            f"{path}: damaged ({type(error).__name__}); delete it to start this trial over, then run with --resume."
        ) from error
