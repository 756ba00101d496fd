"""One line of a benchmark's table, and how it is printed."""

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


TITLE = "| what | value | bar | | detail |\n|---|---|---|---|---|"


def line(row: Row) -> str:
    """The row in Markdown."""
    number = "-" if row.value is None else f"{row.value:{'d' if isinstance(row.value, int) else '.3g'}} {row.unit}"
    verdict = {None: "", True: "reached", False: "MISSED"}[row.passed]
    name = f"{row.section}: {row.name}" if row.section else row.name
    return "| " + " | ".join((name, number.strip(), row.bar, verdict, row.detail.replace("|", "/"))) + " |"
