"""Checkpoints in layouts of other code: finds the weights in them, and says exactly what does not fit.

It reads our own safetensors, bare state_dicts, wrapped ones (`ema`, `model`, `state_dict`), and names with the
prefixes that DataParallel (`module.`) and torch.compile (`_orig_mod.`) add; alone and combined.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.rundir.untrusted import check_safetensors_header, check_torch_archive

HEADER = "bakeoff"
WRAPPERS = ("ema", "model", "state_dict", "trainer")  # the averaged weights first, because samples are made with them
PREFIXES = ("module.", "_orig_mod.", *(f"{wrapper}." for wrapper in WRAPPERS))
SHOWN = 6


class Content(NamedTuple):
    """The weights by the model's own names, our header if the file has one, and how the weights were found."""

    weights: dict[str, Tensor]
    header: Any
    layout: str


def read_checkpoint(path: Path) -> Content:
    """Reads the weights of a safetensors or torch file; runs no code from it.

    Raises:
        BakeoffError: the file is missing (with what is there instead), unreadable, or has no weights.
    """
    if not path.is_file():
        raise BakeoffError(_missing(path))
    if _is_safetensors(path):
        content, metadata = _read_safetensors(path)
        header = metadata.get(HEADER)
    else:
        content = _read_torch(path)
        header = content.get(HEADER)
    weights, layout = find_weights(content, path)
    if odd := next((name for name, tensor in weights.items() if not _is_plain(tensor)), None):
        tensor = weights[odd]
        raise BakeoffError(f"{path}: {odd[:80]!r} is {tensor.dtype}, {tensor.layout}; expected plain real numbers.")
    if isinstance(header, str):
        try:
            header = json.loads(header)
        except (ValueError, RecursionError) as error:
            raise BakeoffError(f"{path}: its bakeoff header is damaged ({error}).") from error
    return Content(weights, header, layout)


def find_weights(content: Mapping[Any, Any], path: Path) -> tuple[dict[str, Tensor], str]:
    """Unwraps dictionaries, then strips prefixes that all names share."""
    steps = []
    while not _all_tensors(content):
        inner = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        steps.append(f"[{inner!r}]")
        content = content[inner]
    weights = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not weights:
        keys = ", ".join(repr(str(key)[:40]) for key in list(content)[:SHOWN]) or "none"
        raise BakeoffError(
            f"{path}: holds no weights. Looked for a state_dict at the top, or under "
            f"{', '.join(WRAPPERS)}; its keys{' under ' + ''.join(steps) if steps else ''}: {keys}."
        )
    while (prefix := _prefix(weights)) is not None:
        steps.append(f"{prefix}*")
        weights = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    return weights, " ".join(steps) or "a bare state_dict"


def check_fit(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path, layout: str) -> None:
    """Raises BakeoffError naming every key that is missing, unexpected or of the wrong shape."""
    missing = [name for name in wanted if name not in weights]
    unexpected = [name for name in weights if name not in wanted]
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, the model has {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if not (missing or unexpected or misshapen):
        return
    problems = [
        f"  {title} ({len(found)}): {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}"
        for title, found in (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
        if found
    ]
    raise BakeoffError(f"{path}: the weights (read as {layout}) do not fit the model:\n" + "\n".join(problems))


def _is_plain(tensor: Tensor) -> bool:
    """Whether the tensor can be copied into a model: on this device, and neither sparse nor complex nor packed."""
    return tensor.device.type == "cpu" and tensor.layout == torch.strided and tensor.dtype.is_floating_point


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _prefix(weights: Mapping[str, Tensor]) -> str | None:
    shared = next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), None)
    if shared is not None:
        return shared
    # several copies are flattened into one file: each name belongs to one of the wrappers
    flat = [f"{wrapper}." for wrapper in WRAPPERS]
    if all(any(name.startswith(p) for p in flat) for name in weights):
        return next(p for p in flat if any(name.startswith(p) for name in weights))
    return None


def _is_safetensors(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(9)
    return path.suffix == ".safetensors" or (len(start) == 9 and start[8:] == b"{")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        check_safetensors_header(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (SafetensorError, OSError, struct.error, ValueError) as error:
        raise BakeoffError(f"{path}: not a readable safetensors file ({error}).") from error


def _read_torch(path: Path) -> Mapping[Any, Any]:
    try:
        check_torch_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything here; none of it is run
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise BakeoffError(
            f"{path}: not a checkpoint that can be read safely ({reason[0][:160]}). Allowed: safetensors, or a torch "
            "file of tensors and plain values (weights_only)."
        ) from error
    if not isinstance(content, Mapping):
        raise BakeoffError(f"{path}: holds a {type(content).__name__}; expected a state_dict.")
    return content


def _missing(path: Path) -> str:
    if path.is_dir():
        found = sorted(str(p.relative_to(path)) for p in path.rglob("*.safetensors"))[:SHOWN]
        there = f"it holds {', '.join(found)}" if found else "it holds no .safetensors file"
        return f"{path}: is a folder; give a checkpoint file ({there})."
    if not path.parent.is_dir():
        return f"{path}: no such checkpoint file; there is no folder {path.parent} either."
    beside = sorted(p.name for p in path.parent.iterdir())
    return (
        f"{path}: no such checkpoint file. Looked for {path.name} in {path.parent}, which holds "
        f"{', '.join(beside[:SHOWN]) or 'nothing'}{', ...' if len(beside) > SHOWN else ''}."
    )
