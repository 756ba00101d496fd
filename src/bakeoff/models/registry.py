"""Mixers by name: the built-in ones, those a plug-in registers, and `package.module:Class`.

Plug-in code is loaded only after `allow_plugins()`, for a protocol may come from a stranger.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from torch import nn

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers import MIXERS

T = TypeVar("T", bound=type[nn.Module])

_registered: dict[str, type[nn.Module]] = dict(MIXERS)
_allowed = False


def register_mixer(name: str) -> Callable[[T], T]:
    """Class decorator: makes a mixer known by `name` in protocols.

    Raises:
        BakeoffError: the name is taken by another class.
    """

    def register(kind: T) -> T:
        taken = _registered.get(name)
        if taken is not None and _origin(taken) != _origin(kind):
            raise BakeoffError(f"register_mixer({name!r}): the name belongs to {_origin(taken)}; choose another.")
        _registered[name] = kind
        return kind

    return register


def allow_plugins() -> None:
    """From now on protocols may name plug-ins; the current folder is searched for them too."""
    global _allowed
    _allowed = True
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that register mixers."""
    for module in modules:
        _import(module, module)


def mixer_class(name: str) -> type[nn.Module]:
    """The class behind a mixer's name.

    Raises:
        BakeoffError: unknown name (with the nearest known one), a plug-in that may not be or cannot be loaded.
    """
    if ":" not in name:
        if name not in _registered:
            close = difflib.get_close_matches(name, _registered, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise BakeoffError(
                f"mixer {name!r}: unknown.{hint} Known: {', '.join(_registered)}; or package.module:Class, "
                "or a name that a module listed under `plugins` registers."
            )
        return _registered[name]
    module_name, _, class_name = name.partition(":")
    module = _import(module_name, name)
    kind = getattr(module, class_name, None)
    if kind is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        close = difflib.get_close_matches(class_name, classes, 1)
        hint = f" Did you mean {module_name}:{close[0]}?" if close else ""
        raise BakeoffError(f"mixer {name!r}: module {module_name} has no {class_name}.{hint}")
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise BakeoffError(f"mixer {name!r}: is no torch.nn.Module class.")
    return kind


def _import(module: str, asked: str) -> object:
    if not _allowed:
        raise BakeoffError(
            f"{asked!r} is a plug-in: code that runs on your machine. If you trust it, add --allow-plugins."
        )
    try:
        return importlib.import_module(module)
    except BakeoffError:
        raise
    except Exception as error:  # the plug-in's own code may raise anything
        raise BakeoffError(
            f"plug-in {asked!r} cannot be loaded: {type(error).__name__}: {error}. It is searched for in the current "
            "folder and in the installed packages."
        ) from error


def _origin(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
