"""Reading protocols: presets by name, the user's own TOML files, overrides, and errors a user can act on."""

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from bakeoff.errors import BakeoffError
from bakeoff.protocol.schema import Protocol

PRESETS = Path(__file__).parent / "presets"
LARGEST_FILE = 1 << 20


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_protocol(source: str, overrides: Sequence[str] = ()) -> Protocol:
    """A preset's name or the path of a TOML file, with `a.b=value` overrides, as a checked protocol.

    Raises:
        BakeoffError: no such preset or file, not TOML, an unknown key, an impossible value.
    """
    path = _locate(source)
    document = read_toml(path)
    for override in overrides:
        _apply(document, override)
    return parse_protocol(document, source)


def parse_protocol(document: dict[str, Any], source: str) -> Protocol:
    """A document as a checked protocol; `source` names it in errors."""
    try:
        # As JSON and strictly: true is no number and "3" is none, but lists are tuples.
        return Protocol.model_validate_json(json.dumps(_with_evidence(document), default=str), strict=True)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise BakeoffError(f"{source}: not a valid protocol:\n" + "\n".join(lines)) from None


def _with_evidence(document: dict[str, Any]) -> dict[str, Any]:
    """What is sealed says outright on which evidence it decides."""
    seeds, rule = document.get("seeds"), document.get("rule", {})
    if not isinstance(rule, dict):
        return document
    several = isinstance(seeds, list) and len(seeds) > 1
    return document | {"rule": {"evidence": "seeds" if several else "point"} | rule}


def dump_protocol(protocol: Protocol) -> str:
    """TOML with every default written out; reads back to the same digest."""
    return tomli_w.dumps(protocol.document())


def _locate(source: str) -> Path:
    if not source.strip():
        raise BakeoffError(f"no protocol given. Presets: {', '.join(preset_names())}; or give a TOML file's path.")
    preset = PRESETS / f"{source}.toml"
    if source in preset_names():
        return preset
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:  # too long for a path, or with a zero byte in it
        raise BakeoffError(f"{source[:80]}...: cannot be a path ({error}).") from None
    if is_file:
        return path
    if is_folder:
        raise BakeoffError(f"{source}: is a folder; give a protocol file (TOML) or a preset.")
    close = difflib.get_close_matches(source, preset_names(), 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise BakeoffError(
        f"{source}: no such preset or file.{hint} Presets: {', '.join(preset_names())}; or give a TOML file's path."
    )


def read_toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BakeoffError(f"{path}: larger than {LARGEST_FILE} bytes; that is no protocol.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise BakeoffError(f"{path}: not a text file (byte {error.start} is not UTF-8).") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError; so are Python's own limits
        raise BakeoffError(f"{path}: not valid TOML: {error}.") from error


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise BakeoffError(f"--set {override}: expected KEY=VALUE, for example --set training.lr=3e-4.")
    *parents, last = parts
    node: Any = document
    for depth, part in enumerate(parents):
        node = _child(node, part, ".".join(parents[: depth + 1]), override)
    if isinstance(node, list):
        node[_index(node, last, key, override)] = _value(text)
    elif text.strip() == "none":
        node.pop(last, None)
    else:
        node[last] = _value(text)


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts as a dictionary, values read as TOML.

    Raises:
        BakeoffError: a text is not KEY=VALUE.
    """
    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise BakeoffError(f"--option {text}: expected KEY=VALUE, for example --option d_state=16.")
        options[key.strip()] = _value(value)
    return options


def _child(node: Any, part: str, path: str, override: str) -> Any:
    child = node[_index(node, part, path, override)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, (dict, list)):
        raise BakeoffError(f"--set {override}: {path} is a value, not a section.")
    return child


def _index(node: list[Any], part: str, path: str, override: str) -> int:
    if not (part.isascii() and part.isdigit()) or len(part) > 6 or int(part) >= len(node):
        raise BakeoffError(f"--set {override}: {path}: expected a number from 0 to {len(node) - 1}.")
    return int(part)


def _value(text: str) -> Any:
    """TOML's reading of the text, or the text itself, so that quotes may be left out."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):  # not TOML, or a number or a nesting beyond Python's limits
        return text.strip()


def _explain(problem: Any) -> str:
    location, kind, message = problem["loc"], problem["type"], problem["msg"]
    path = ".".join(str(part) for part in _without_tags(location)) or "protocol"
    if kind == "extra_forbidden":
        allowed = _keys_beside(location)
        close = difflib.get_close_matches(str(location[-1]), allowed, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"  {path}: unknown key{hint}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return f"  {path}: missing; it has no default"
    message = message.removeprefix("Value error, ")
    if kind == "value_error" and not location:
        return f"  {message}"
    if kind == "value_error":
        return f"  {path}: {message[0].lower()}{message[1:]}"
    return f"  {path} = {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _without_tags(location: Sequence[Any]) -> list[Any]:
    """Pydantic's location names the chosen member of `codec`; the file does not."""
    tagged = location[:1] == ("codec",) and location[1:2] in [("pixel",), ("latent",)]
    return [location[0], *location[2:]] if tagged else list(location)


def _keys_beside(location: Sequence[Any]) -> list[str]:
    """The keys allowed where the unknown one stands."""
    models: list[type[BaseModel]] = [Protocol]
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotations = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if annotations:
            models = _models_in(annotations[0])
        else:  # the tag that chose a member of a union
            models = [model for model in models if part in _tags(model)]
    return list(models[0].model_fields)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    return getattr(model.model_fields["kind"].annotation, "__args__", ())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _models_in(part)]
