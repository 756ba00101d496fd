"""bo.mixer and bo.check: a mixer of one's own, named and tested against the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from torch import nn

from bakeoff.cli.terminal import show_checks
from bakeoff.library.shown import as_html, as_text
from bakeoff.models.backbones import mixer_class
from bakeoff.models.contract import ContractCheck, check_mixer
from bakeoff.registry import register_mixer

C = TypeVar("C", bound=type)


def mixer(name: str) -> Callable[[C], C]:
    """Class decorator: makes a mixer known by `name` in protocols.

    A trial is a process of its own and has to find the class, too: put it into a module, such as mine.py in the current
    folder, list that under the protocol's `plugins`, and run with `allow_plugins=True`. docs/mixer.md has the contract:
    `(d_model, width, **options)`, and (B, L, D) to (B, L, D).

    Raises:
        BakeoffError: the name belongs to another class.

    >>> import bakeoff as bo
    >>> from torch import nn
    >>> @bo.mixer("pointwise")
    ... class Pointwise(nn.Module):
    ...     reads = "token"
    ...     def __init__(self, d_model, width):
    ...         super().__init__()
    ...         self.up, self.down = nn.Linear(d_model, width), nn.Linear(width, d_model)
    ...     def forward(self, x_BLD):
    ...         return self.down(self.up(x_BLD).relu())
    >>> bo.check(Pointwise).kept
    True
    """
    return register_mixer(name)


@dataclass(frozen=True, repr=False)
class Contract:
    """How a mixer keeps the contract; `print` and notebooks show it as `bakeoff check-plugin` does.

    Attributes:
        checks: one a clause, with its `name`, whether it `passed`, and the `detail` of what was seen.
    """

    mixer: str
    checks: tuple[ContractCheck, ...]

    @property
    def kept(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    def __repr__(self) -> str:
        return f"<contract of {self.mixer}: {'kept' if self.kept else 'broken'}; print it>"

    def __str__(self) -> str:
        return as_text(self._show)

    def _repr_html_(self) -> str:
        return as_html(self._show)

    def _show(self, console: Console) -> None:
        show_checks(console, self.mixer, self.checks)


def check(mixer: type[nn.Module] | str, **options: Any) -> Contract:
    """Tests whether a mixer keeps the contract, clause by clause; takes seconds.

    Args:
        mixer: the class, also one of a notebook; or the name of one that is built in or registered.
        options: for its constructor.

    Raises:
        BakeoffError: no mixer has this name.

    >>> import bakeoff as bo
    >>> bo.check("mlp", gate="swiglu").kept
    True
    >>> from torch import nn
    >>> [(one.name, one.detail) for one in bo.check(nn.Identity).checks if not one.passed]
    [('the width widens it', 'parameters at growing widths: [0, 0, 0]')]
    """
    kind = mixer_class(mixer) if isinstance(mixer, str) else mixer
    return Contract(mixer if isinstance(mixer, str) else kind.__name__, tuple(check_mixer(kind, options)))
