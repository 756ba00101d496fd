"""Files of a run directory: atomic writes, and JSON reads with limits."""

import errno
import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bakeoff.errors import BakeoffError, printable
from bakeoff.rundir import disk

LARGEST_JSON = 16 << 20
R = TypeVar("R", bound=BaseModel)


def write_atomic(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Writes all of the content or none of it, even if killed: temporary file, fsync, rename, fsync of the folder.

    Args:
        keep: where the present file at `path` is moved, after the new one is complete and reads back as written.

    Raises:
        OSError: the write failed; the error names the file, and the present file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # left by a killed writer, or a link that leads elsewhere
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.is_file():
            if temporary.read_bytes() != content:
                raise OSError(errno.EIO, "reads back otherwise than it was written")
            os.replace(path, keep)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise disk.full(path, len(content)) from error
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def make_folder(folder: Path) -> None:
    """Makes the folder and all folders above it; each is on the disk before anything is written in it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Writes the folder to the disk; only after that does a rename in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, value: BaseModel | dict[str, Any]) -> None:
    document = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_atomic(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object of finite numbers and printable texts.

    Raises:
        BakeoffError: the file is missing, too large, or not such JSON.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON} bytes")
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
        _refuse_control_characters(document)
    except (OSError, ValueError, RecursionError) as error:
        raise BakeoffError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict):
        raise BakeoffError(f"{path}: holds no JSON object.")
    return document


def read_record(
    path: Path, record: type[R], what: str, upgrade: Callable[[dict[str, Any]], dict[str, Any]] = lambda given: given
) -> R:
    """Reads a JSON file as the record that it should hold; `upgrade` converts older formats to the present one.

    Raises:
        BakeoffError: as `read_json`, or the content does not have the record's shape.
    """
    document = read_json(path)
    try:
        return _in_shape(record, what, upgrade(document), path)
    except BakeoffError as error:
        raise error if str(error).startswith(str(path)) else BakeoffError(f"{path}: {error}") from None


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")
    return value


def _refuse_control_characters(node: Any) -> None:
    """Refuses control characters, because texts are shown on a terminal and must not control it."""
    if isinstance(node, str) and printable(node) != node:
        raise ValueError(f"control characters in {node[:40]!r}")
    if isinstance(node, dict):
        _refuse_control_characters([*node, *node.values()])
    elif isinstance(node, list):
        for value in node:
            _refuse_control_characters(value)


def _in_shape(record: type[R], what: str, document: dict[str, Any], path: Path) -> R:
    try:
        return record.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6])
        raise BakeoffError(f"{path}: not {what}: {where}: {first['msg']}.") from None
