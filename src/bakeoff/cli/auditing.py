"""Output of `bakeoff audit`: the contradictions in a published table, and the rule's verdict on it as printed."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid

from bakeoff.protocol.audit.checks import Audit, FloorBasis, LossFloor, audit, floor_basis
from bakeoff.protocol.audit.published import Table
from bakeoff.protocol.verdict import criteria_table, figure, headline


def audited(table: Table) -> Audit:
    """The audit of a table; computes the memoriser's floor if the table names data that are known here."""
    basis = floor_basis(table)
    if table.setup.loss_floor is not None or not isinstance(basis, FloorBasis):
        return audit(table)
    from bakeoff.tasks import mnist_floor

    floor = mnist_floor(basis.pixel_range, basis.train_images)
    low, high = basis.pixel_range
    data = f"{basis.train_images:,} images of MNIST in [{low:g}, {high:g}]"
    return audit(table, LossFloor(floor.value, f"computed for {data}, standard error {floor.stderr:.4f}"))


def audit_json(table: Table, found: Audit) -> dict[str, Any]:
    """Findings and verdict as plain values, for scripts; `verdict` is null if none can be given."""
    document = asdict(found)
    document["losses"] = {row.name: row.final_loss for row in table.backbone}
    if found.verdict is not None:
        document["verdict"]["table"] = criteria_table(found.verdict)
    return document


def show_audit(console: Console, table: Table, found: Audit) -> None:
    for finding in found.findings:
        console.print(f"[bold]{finding.check}[/] ({finding.where})")
        console.print(Padding(escape(finding.message), (0, 0, 0, 2)))
    for skip in found.skipped:
        console.print(f"not checked: {skip.check} ({skip.where}): {escape(skip.reason)}")
    count = len(found.findings)
    console.print(f"\n{count or 'no'} finding{'s' if count != 1 else ''}\n")
    _show_figures(console, table, found)
    if found.verdict is not None:
        console.print(f"Verdict on the figures as printed: {headline(found.verdict)}", style="bold", markup=False)


def _show_figures(console: Console, table: Table, found: Audit) -> None:
    """Shows every loss beside the floor, and how the rule classes every backbone."""
    grid = Grid("backbone", "samples", "loss", "floor", "loss / floor", "by the rule, as printed")
    floor = found.floor.value if found.floor else None
    for row in table.backbone:
        result = found.verdict.backbones[row.name] if found.verdict else None
        times = row.final_loss / floor if row.final_loss and floor else None
        figures = (figure(value) if value is not None else "-" for value in (row.final_loss, floor, times))
        grid.add_row(row.name, row.samples or "-", *figures, f"{result.outcome}: {result.reason}" if result else "-")
    console.print(grid)
