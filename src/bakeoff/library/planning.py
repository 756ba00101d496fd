"""bo.plan: matched widths, costs and doubts of a protocol, before anything is trained."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from bakeoff.cli.terminal import show_lint, show_plan
from bakeoff.execute.estimate import estimate
from bakeoff.library.protocols import loaded
from bakeoff.library.shown import as_html, as_text
from bakeoff.protocol.lint import LintFinding
from bakeoff.protocol.schema import Protocol
from bakeoff.registry import plugins_allowed
from bakeoff.trial.plan import Plan, lint_plan, make_plan


@dataclass(frozen=True, repr=False)
class Planned:
    """A plan to look at; `print` and notebooks show it as `bakeoff plan` does.

    Attributes:
        plan: the backbones at their matched widths.
        lint: findings with `level` ("ok", "warning", "error"), `check` and `message`; `bo.run` refuses errors.
    """

    plan: Plan
    lint: tuple[LintFinding, ...]
    allow_plugins: bool = False

    @cached_property
    def estimate(self) -> dict[str, Any]:
        """Time and memory on this machine's CPU, from one small step of every backbone; takes seconds."""
        with plugins_allowed(self.allow_plugins):
            return estimate(self.plan)

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a backbone: layers, parameters as matched and at the literature's widths, costs of an item."""
        return [
            {
                "backbone": one.backbone.name,
                "layers": one.backbone.arranged(),
                "params": one.fit.params,
                "nominal_params": one.nominal_params,
                "flops_per_sample": one.flops_per_sample,
                "state_bytes": one.state_bytes,
            }
            for one in self.plan.backbones
        ]

    def __repr__(self) -> str:
        return f"<plan of {self.plan.protocol.name}; print it>"

    def __str__(self) -> str:
        return as_text(self._show)

    def _repr_html_(self) -> str:
        return as_html(self._show)

    def _show(self, console: Console) -> None:
        with plugins_allowed(self.allow_plugins):
            show_plan(console, self.plan, self.estimate)
            show_lint(console, self.lint)


def plan(protocol: Protocol | str | Path, *, allow_plugins: bool = False) -> Planned:
    """Matches every backbone to the budget and asks whether the rule can decide; nothing is trained.

    Args:
        protocol: a protocol, or what `bo.load` takes.
        allow_plugins: whether the protocol may name code of yours, which then runs in this process.

    Raises:
        BakeoffError: the counts cannot be brought within the tolerance, an objective cannot serve the task, or a
            plug-in is not allowed or cannot be loaded.

    >>> import bakeoff as bo
    >>> planned = bo.plan("smoke")
    >>> [(row["backbone"], row["params"]) for row in planned.rows()]
    [('mamba', 44740), ('transformer', 44772), ('hybrid', 45772)]
    >>> [one.message for one in planned.lint if one.level != "ok"]
    ['one seed: any verdict is indicative, whatever the figures say']
    """
    with plugins_allowed(allow_plugins):
        made = make_plan(loaded(protocol))
        return Planned(made, tuple(lint_plan(made)), allow_plugins)
