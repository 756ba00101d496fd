"""One line of a benchmark's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`value` is what `bar` speaks of; `passed` is None where there is no bar, or nothing was measured."""

    name: str
    value: float | None
    unit: str
    bar: str = ""
    passed: bool | None = None
    detail: str = ""
    section: str = ""
