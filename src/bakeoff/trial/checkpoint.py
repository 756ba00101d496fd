"""Checkpoints: the trained weights as safetensors, and the state from which a stopped trial resumes."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.trunk import Trunk
from bakeoff.objectives import Generator
from bakeoff.protocol.formats import FORMAT, check_format
from bakeoff.protocol.presets import parse_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import read_json, write_atomic
from bakeoff.rundir.foreign_checkpoints import HEADER, check_fit, read_checkpoint
from bakeoff.tasks import Task, build_task
from bakeoff.trial.candidate import Candidate, candidate_of

WIDEST = 1 << 16
OUTLINED = 256  # layers; up to this depth an outline is fast enough to name what does not fit
SEAL = b"sha256:"
DIGEST = 64
SEALED = len(SEAL) + DIGEST


class Loaded(NamedTuple):
    candidate: Candidate
    model: Trunk
    layout: str

    @property
    def protocol(self) -> Protocol:
        return self.candidate.protocol

    @property
    def backbone(self) -> Backbone:
        return self.candidate.backbone

    @property
    def task(self) -> Task:
        return self.candidate.task

    def generator(self) -> Generator:
        """The model, ready to make items."""
        return self.candidate.generator(self.model)


def save_model(
    path: Path, weights: Mapping[str, Tensor], protocol: Protocol, backbone: str, widths: Mapping[str, int]
) -> None:
    """Saves the weights; one JSON header holds all that is needed to build their model again."""
    header = {
        "format": FORMAT,
        "protocol": protocol.document(),
        "backbone": backbone,
        "widths": dict(widths),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomic(path, save(tensors, metadata={HEADER: json.dumps(header)}))


def load_model(path: Path, protocol: Protocol | None = None, backbone: str | None = None) -> Loaded:
    """Loads a trained model from a file in any layout of `bakeoff.rundir.foreign_checkpoints`, ready to sample.

    The description of the model is read from the file's own header, else from a JSON file beside it (`NAME.json`), else
    from the run directory around it; `protocol` and `backbone` describe models whose files have none of these.

    Raises:
        BakeoffError: the file is missing or unreadable, the model is unknown, or the weights do not fit it.
    """
    content = read_checkpoint(path)
    if protocol is None:
        protocol, name, widths = _description(path, content.header)
        backbone = backbone or name
    else:
        widths = None
    chosen = _choose(protocol, backbone, path)
    if len(chosen.names) > max(len(content.weights), OUTLINED):
        raise BakeoffError(f"{path}: {len(content.weights)} tensors cannot be a model of {len(chosen.names)} mixers.")
    candidate = candidate_of(build_task(protocol), chosen)
    if widths is None:
        widths = candidate.blueprint.fit().widths
    elif unknown := set(chosen.names) - set(widths):
        raise BakeoffError(f"{path}: its bakeoff header is damaged (no width of {', '.join(sorted(unknown))}).")
    # an outline first, because a stranger's header may ask for a model too large for any machine
    check_fit(content.weights, candidate.blueprint.outline(widths), path, content.layout)
    model = candidate.blueprint.build(widths)
    model.load_state_dict(content.weights)
    return Loaded(candidate, model.eval().requires_grad_(False), content.layout)


def _description(path: Path, header: object) -> tuple[Protocol, str | None, dict[str, int] | None]:
    """Protocol, backbone and widths of a checkpoint."""
    beside, trial = path.with_suffix(".json"), path.resolve().parent
    if header is None and beside.is_file() and beside != path:
        header = read_json(beside)
    if header is None and (trial.parents[1] / "protocol.toml").is_file():
        return RunDir.open(trial.parents[1]).protocol, trial.name.rpartition("-s")[0], None
    if header is None:
        raise BakeoffError(
            f"{path}: holds weights, but nothing says of which model: no bakeoff header in it, no {beside.name} beside "
            "it, and it lies in no run directory. Name it with --protocol and --backbone."
        )
    try:
        if not isinstance(header, dict):
            raise TypeError(f"{type(header).__name__} instead of an object")
        check_format(header.get("format"), f"{path} (header)")
        document, name, widths = header["protocol"], str(header["backbone"]), dict(header["widths"])
        checked = {str(kind): int(width) for kind, width in widths.items()}
        if not all(1 <= width <= WIDEST for width in checked.values()):
            raise ValueError(f"widths {checked}; allowed: 1 to {WIDEST}")
    except BakeoffError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BakeoffError(f"{path}: its bakeoff header is damaged ({error!r}).") from error
    return parse_protocol(document, f"{path} (header)"), name, checked


def _choose(protocol: Protocol, name: str | None, path: Path) -> Backbone:
    for one in protocol.backbones:
        if one.name == name or (name is None and len(protocol.backbones) == 1):
            return one
    names = ", ".join(one.name for one in protocol.backbones)
    raise BakeoffError(f"{path}: backbone {name!r} is not in protocol {protocol.name}; it has {names} (--backbone).")


def pack_state(state: Mapping[str, Any]) -> bytes:
    """A torch file followed by the SHA-256 of its bytes, because torch does not notice a flipped bit in a tensor."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    return content + SEAL + hashlib.sha256(content).hexdigest().encode()


def load_state(path: Path) -> dict[str, Any]:
    """Loads the state that `pack_state` packed; reads only tensors and plain values, runs no code.

    Raises:
        BakeoffError: any byte is damaged, or it is not such a file.
    """
    try:
        content = path.read_bytes()
        content, seal, digest = content[:-SEALED], content[-SEALED : -SEALED + len(SEAL)], content[-DIGEST:]
        if seal != SEAL or hashlib.sha256(content).hexdigest().encode() != digest:
            raise ValueError("its checksum is wrong")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file with a right checksum may raise anything here; none of it is run
        raise BakeoffError(f"{path}: damaged ({str(error).strip()[:160] or type(error).__name__}).") from error
