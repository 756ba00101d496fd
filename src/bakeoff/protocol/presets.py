"""Reading protocols: presets by name, the user's own TOML files, and overrides."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from bakeoff.errors import BakeoffError, did_you_mean
from bakeoff.protocol.catalogue import written_out
from bakeoff.protocol.documents import existing_file, parse_document, read_toml
from bakeoff.protocol.formats import upgrade
from bakeoff.protocol.schema import Protocol

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_protocol(source: str, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Protocol:
    """A preset's name or the path of a TOML file, with some keys changed, as a checked protocol.

    Args:
        overrides: `a.b=value` texts, or values by key; "none" and None remove a key.

    Raises:
        BakeoffError: no such preset or file, not TOML, an unknown key, an impossible value.
    """
    return parse_protocol(read_toml(_locate(source), "protocol"), source, overrides)


def parse_protocol(
    document: dict[str, Any], source: str, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Protocol:
    """A document of any format as a checked protocol, with overrides as above; `source` names it in errors."""
    document = _upgraded(document, source)
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            _apply(document, key, value, f"{key} = {value!r:.80}")
    else:
        for override in overrides:
            key, value = _parse(override)
            _apply(document, key, value, f"--set {override}")
    return parse_document(Protocol, _upgraded(document, source), source, "protocol")


def _upgraded(document: Any, source: str) -> Any:
    """In the present format and without references to the catalogue; what is no document is left to the schema, which
    says what is wrong with it."""
    if not isinstance(document, dict):
        return document
    try:
        return written_out(upgrade(document))
    except BakeoffError as error:
        raise BakeoffError(f"{source}: {error}") from None


def dump_protocol(protocol: Protocol) -> str:
    """TOML with every default written out; reads back to the same digest."""
    return tomli_w.dumps(protocol.document())


def _locate(source: str) -> Path:
    if not source.strip():
        raise BakeoffError(f"no protocol given. Presets: {', '.join(preset_names())}; or give a TOML file's path.")
    preset = PRESETS / f"{source}.toml"
    if source in preset_names():
        return preset
    if (path := existing_file(source, "a protocol file (TOML) or a preset")) is not None:
        return path
    near = did_you_mean(source, preset_names())
    raise BakeoffError(
        f"{source}: no such preset or file{near}. Presets: {', '.join(preset_names())}; or give a TOML file's path."
    )


def _parse(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise BakeoffError(f"--set {override}: expected KEY=VALUE, for example --set training.lr=3e-4.")
    return key, None if text.strip() == "none" else _value(text)


def _apply(document: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Sets one key, or removes it from its section; `said` names the override in errors."""
    *parents, last = [part.strip() for part in key.split(".")]
    node: Any = document
    for depth, part in enumerate(parents):
        node = _child(node, part, ".".join(parents[: depth + 1]), said)
    if isinstance(node, list):
        node[_index(node, last, key, said)] = value
    elif value is None:
        node.pop(last, None)
    else:
        node[last] = value


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


def _child(node: Any, part: str, path: str, said: str) -> Any:
    child = node[_index(node, part, path, said)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, (dict, list)):
        raise BakeoffError(f"{said}: {path} is a value, not a section.")
    return child


def _index(node: list[Any], part: str, path: str, said: str) -> int:
    if not (part.isascii() and part.isdigit()) or len(part) > 6 or int(part) >= len(node):
        raise BakeoffError(f"{said}: {path}: expected a number from 0 to {len(node) - 1}.")
    return int(part)


def _value(text: str) -> Any:
    """TOML's reading of the text, or the text itself, so that quotes may be left out."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):  # not TOML, or a number or a nesting beyond Python's limits
        return text.strip()
