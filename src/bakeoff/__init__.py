"""bakeoff: choose a sequence backbone before you spend the GPUs.

Ten names are for programs and notebooks, and docs/library.md shows them at work; all else may move. Each is loaded when
it is first used, so that `import bakeoff` is quick and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bakeoff.errors import BakeoffError
    from bakeoff.library.deciding import decide
    from bakeoff.library.mixers import check, mixer
    from bakeoff.library.planning import plan
    from bakeoff.library.protocols import load
    from bakeoff.library.running import bar, local, run
    from bakeoff.library.runs import Run

__version__ = "0.1.0"
__all__ = ["BakeoffError", "Run", "bar", "check", "decide", "load", "local", "mixer", "plan", "run"]

_HOMES = {
    "BakeoffError": "bakeoff.errors",
    "Run": "bakeoff.library.runs",
    "bar": "bakeoff.library.running",
    "check": "bakeoff.library.mixers",
    "decide": "bakeoff.library.deciding",
    "load": "bakeoff.library.protocols",
    "local": "bakeoff.library.running",
    "mixer": "bakeoff.library.mixers",
    "plan": "bakeoff.library.planning",
    "run": "bakeoff.library.running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bakeoff' has no attribute {name!r}; public are {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
