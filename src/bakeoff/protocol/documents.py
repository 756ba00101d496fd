"""Files of strangers: TOML to checked records, within limits, and with errors a user can act on."""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bakeoff.errors import BakeoffError, did_you_mean

LARGEST_FILE = 1 << 20
PROBLEMS_TOLD = 20
LONGEST_VALUE = 80  # characters of a wrong value that are repeated to the user
UNIONS = {  # sections that are one of several, and the tags of these
    "task": ("mnist", "emoji", "cifar10", "fashion", "recall", "tracking", "plug-in"),
    "codec": ("pixel", "pca", "latent", "plug-in"),
    "objective": ("flow", "ddpm", "autoregressive", "plug-in"),
    "sampling": ("solver", "decoding"),
}
KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:\\.|[^"\\\n])*+"|'[^'\n]*+')"""
DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_\\-]){KEY_PART}(?:[ \t]*+\.[ \t]*+{KEY_PART}){{32}}")  # a.b.c..., 33 parts

Model = TypeVar("Model", bound=BaseModel)


def existing_file(source: str, wanted: str) -> Path | None:
    """The path of a file, or None where there is none; refuses folders and what cannot be a path."""
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:  # too long for a path, or with a zero byte in it
        raise BakeoffError(f"{source[:80]}...: cannot be a path ({error}).") from None
    if is_folder:
        raise BakeoffError(f"{source}: is a folder; give {wanted}.")
    return path if is_file else None


def read_toml(path: Path, what: str = "protocol", largest: int = LARGEST_FILE) -> dict[str, Any]:
    """A TOML file as a dictionary; `what` it should be is named in errors.

    Raises:
        BakeoffError: unreadable, too large, no text, not TOML, or nested beyond reason.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise BakeoffError(f"{path}: larger than {largest} bytes; that is no {what}.")
        text = content.decode("utf-8")
        if DEEP_KEY.search(text):  # tomllib's time and memory grow with the square of a key's depth
            raise BakeoffError(f"{path}: not valid TOML: a key of more than 32 parts; that is no {what}.")
        return tomllib.loads(text)
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise BakeoffError(f"{path}: not a text file (byte {error.start} is not UTF-8).") from error
    except BakeoffError:
        raise
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError; so are Python's own limits
        raise BakeoffError(f"{path}: not valid TOML: {error}.") from error


def parse_document(model: type[Model], document: dict[str, Any], source: str, what: str) -> Model:
    """A document as a checked record; `source` names it in errors.

    Raises:
        BakeoffError: an unknown key, a missing one, an impossible value; each named with what is allowed.
    """
    try:
        # As JSON and strictly: true is no number and "3" is none, but lists are tuples.
        return model.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        problems = error.errors()
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        raise BakeoffError(f"{source}: not a valid {what}: {error}.") from None
    lines = [_explain(problem, model, what) for problem in problems[:PROBLEMS_TOLD]]
    if len(problems) > PROBLEMS_TOLD:
        lines.append(f"  and {len(problems) - PROBLEMS_TOLD} more")
    raise BakeoffError(f"{source}: not a valid {what}:\n" + "\n".join(lines))


def _explain(problem: Any, model: type[BaseModel], what: str) -> str:
    location, kind, message = problem["loc"], problem["type"], problem["msg"]
    path = ".".join(_printable(str(part)) for part in _without_tags(location)) or what
    if kind == "extra_forbidden":
        allowed = _keys_beside(location, model)
        near = did_you_mean(str(location[-1])[:LONGEST_VALUE], allowed)
        return f"  {path}: unknown key{near}; allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return f"  {path}: missing; it has no default"
    message = message.removeprefix("Value error, ")
    if kind == "value_error" and not location:
        return f"  {message}"
    if kind == "value_error":
        return f"  {path}: {message[0].lower()}{message[1:]}"
    return f"  {path} = {_shortened(repr(problem['input']))}: {message[0].lower()}{message[1:]}"


def _printable(text: str) -> str:
    """Without what would steer a terminal."""
    return _shortened(text if text.isprintable() else ascii(text))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _without_tags(location: Sequence[Any]) -> list[Any]:
    """Pydantic's location names the chosen member of a union; the file does not."""
    tagged = location[:1] and location[0] in UNIONS and location[1:2] and location[1] in UNIONS[location[0]]
    return [location[0], *location[2:]] if tagged else list(location)


def _keys_beside(location: Sequence[Any], root: type[BaseModel]) -> list[str]:
    """The keys allowed where the unknown one stands."""
    models: list[type[BaseModel]] = [root]
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotations = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if tagged := [model for model in models if part in _tags(model)]:  # what chose a member of a union
            models = tagged
        elif annotations:
            models = _models_in(annotations[0])
    return list(models[0].model_fields)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    kind = model.model_fields.get("kind")
    return () if kind is None else getattr(kind.annotation, "__args__", ())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in getattr(annotation, "__args__", ()) for kind in _models_in(part)]
