"""Registries of parts by name: mixers, tasks, codecs, objectives, probes and kinds; classes are imported on demand.

A built-in part is listed as "module:Class". A plug-in registers its parts under a name, or a protocol names them as
"module:Class"; plug-in code is loaded only within `plugins_allowed()`, because a protocol may come from a stranger.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Generic, TypeVar

from bakeoff.errors import BakeoffError, PlugInRefused, did_you_mean

PLUGIN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package.module:Class
RUNNING = "__main__"  # the module of classes that are defined in a script or a notebook
C = TypeVar("C", bound=type)
T = TypeVar("T")

_leave: ContextVar[bool] = ContextVar("leave to load plug-ins", default=False)


class Registry(Generic[T]):
    """All parts of one sort.

    Args:
        sort: what a part is called in messages.
        built_in: name to "module:Class".
    """

    def __init__(self, sort: str, built_in: Mapping[str, str]) -> None:
        self.sort = sort
        self.built_in = tuple(built_in)
        self._known: dict[str, str | type] = dict(built_in)

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: makes a class known by `name` in protocols; it may replace one of the running program's.

        Raises:
            BakeoffError: the name is taken by another class.
        """

        def register(part: C) -> C:
            taken = self._known.get(name)
            if taken is not None and self._home(name) != RUNNING and _origin(taken) != _origin(part):
                raise BakeoffError(
                    f"register_{self.sort}({name!r}): the name belongs to {_origin(taken)}; choose another."
                )
            self._known[name] = part
            return part

        return register

    def get(self, name: str) -> type[T]:
        """The class behind a name.

        Raises:
            BakeoffError: the name is unknown (says the nearest), a plug-in is not allowed or cannot be loaded, or the
                class is one that trials cannot find.
        """
        if self._home(name) == RUNNING:
            raise BakeoffError(f"{self._of_running(name)}.")
        if ":" in name:
            return self._plugin(name)
        known = self._known.get(name)
        if known is None:
            raise BakeoffError(
                f"{self.sort} {name!r}: unknown{did_you_mean(name, self._known)}; known: {', '.join(self._known)}, "
                "package.module:Class, or a name that a module listed under `plugins` registers."
            )
        if isinstance(known, str):
            module, _, attribute = known.partition(":")
            return getattr(importlib.import_module(module), attribute)
        return known

    def check(self, name: str, plugins: Iterable[str] = ()) -> str:
        """Returns the name if it can be a part's name; imports nothing.

        Args:
            plugins: modules that may register names of their own.

        Raises:
            ValueError: the name cannot be one; the message says what is allowed.
        """
        home = self._home(name)
        if home == RUNNING and not tuple(plugins):
            raise ValueError(self._of_running(name))
        if name in self.built_in or PLUGIN.fullmatch(name) or (tuple(plugins) and name.isidentifier()):
            return name
        if home is not None:
            raise ValueError(
                f"{name!r}: a {self.sort} that {home} registers in this process; every trial is a process of its own, "
                f'which has to import that module, too: list plugins = ["{home}"]'
            )
        raise ValueError(
            f"{name!r}: unknown {self.sort}{did_you_mean(name, self.built_in)}; allowed: {', '.join(self.built_in)}, "
            "package.module:Class, or a name that a module listed under plugins registers"
        )

    def _home(self, name: str) -> str | None:
        """The module of a part that is named by its module, or was registered here; None for any other name."""
        known = self._known.get(name)
        if isinstance(known, type):
            return known.__module__
        return name.partition(":")[0] if PLUGIN.fullmatch(name) else None

    def _of_running(self, name: str) -> str:
        return (
            f"{name!r}: a {self.sort} of the program or notebook that is running; every trial is a process of its own, "
            'which does not have it. Put the class into a file, such as mine.py, and name it "mine:Class", or register '
            'it there and list plugins = ["mine"]'
        )

    def _plugin(self, name: str) -> type[T]:
        module_name, _, class_name = name.partition(":")
        module = _import(module_name, name)
        part = getattr(module, class_name, None)
        if part is None:
            classes = [key for key, value in vars(module).items() if isinstance(value, type)]
            near = did_you_mean(class_name, classes)
            raise BakeoffError(f"{self.sort} {name!r}: module {module_name} has no {class_name}{near}.")
        if not isinstance(part, type):
            raise BakeoffError(f"{self.sort} {name!r}: is {part!r:.40}, no class.")
        return part


MIXERS: Registry[Any] = Registry(
    "mixer",
    {
        "mamba": "bakeoff.models.mixers.mamba:Mamba",
        "mamba2": "bakeoff.models.mixers.mamba2:Mamba2",
        "mamba3": "bakeoff.models.mixers.mamba3:Mamba3",
        "attention": "bakeoff.models.mixers.attention:Attention",
        "mlp": "bakeoff.models.mixers.mlp:Mlp",
        "gru": "bakeoff.models.mixers.gru:Gru",
        "conv": "bakeoff.models.mixers.conv:Conv",
    },
)
CODECS: Registry[Any] = Registry(
    "codec",
    {
        "pixel": "bakeoff.codecs.pixel:PixelCodec",
        "pca": "bakeoff.codecs.pca:PcaCodec",
        "latent": "bakeoff.codecs.latent:LatentCodec",
    },
)
OBJECTIVES: Registry[Any] = Registry(
    "objective",
    {
        "flow": "bakeoff.objectives.flow:Flow",
        "ddpm": "bakeoff.objectives.ddpm:Ddpm",
        "autoregressive": "bakeoff.objectives.autoregressive:Autoregressive",
    },
)
TASKS: Registry[Any] = Registry(
    "task",
    {
        "mnist": "bakeoff.tasks.digits:Digits",
        "emoji": "bakeoff.tasks.emoji:Emoji",
        "cifar10": "bakeoff.tasks.own_images:Cifar10",
        "fashion": "bakeoff.tasks.own_images:Fashion",
        "recall": "bakeoff.tasks.recall:Recall",
        "tracking": "bakeoff.tasks.tracking:Tracking",
    },
)
PROBES: Registry[Any] = Registry(
    "probe",
    {
        "step_time": "bakeoff.probes.step_time:StepTime",
        "sampling_time": "bakeoff.probes.sampling_time:SamplingTime",
        "solve_time": "bakeoff.probes.solve_time:SolveTime",
    },
)

KINDS: Registry[Any] = Registry(
    "kind",
    {
        "images": "bakeoff.artefacts.images:Images",
        "text": "bakeoff.artefacts.text:Text",
        "answers": "bakeoff.artefacts.answers:Answers",
    },
)


def register_mixer(name: str) -> Callable[[C], C]:
    """Class decorator: makes a mixer known by `name` in protocols."""
    return MIXERS.register(name)


@contextmanager
def plugins_allowed(allowed: bool = True) -> Iterator[None]:
    """Within the block, protocols may name plug-ins, and the current folder is searched for them too.

    The leave is that of the thread or task that enters the block, not of the whole process; those that it starts have
    it if they are given its context (`contextvars`).

    Args:
        allowed: False changes nothing.
    """
    if not allowed:
        yield
        return
    token, here = _leave.set(True), str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        _leave.reset(token)
        if here in sys.path:
            sys.path.remove(here)


def load_plugins(modules: Iterable[str]) -> None:
    """Imports modules that register parts."""
    for module in modules:
        _import(module, module)


def _import(module: str, asked: str) -> object:
    if not _leave.get():
        raise PlugInRefused(
            f"{asked!r} is a plug-in: code that runs on your machine. If you trust it, add --allow-plugins "
            "(in Python: allow_plugins=True)."
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


def _origin(part: str | type) -> str:
    return part.replace(":", ".") if isinstance(part, str) else f"{part.__module__}.{part.__qualname__}"
