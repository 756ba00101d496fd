"""Writes the report: `report.html` (one file that requests nothing), `report.md`, and the figures for a paper."""

import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from bakeoff.protocol.audit.published import Table
from bakeoff.protocol.calls import COSTS as SOLVES
from bakeoff.protocol.figures import COSTS
from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.presets import dump_protocol
from bakeoff.protocol.verdict import figure
from bakeoff.report import figures
from bakeoff.report.gather import command, gather
from bakeoff.rundir.files import write_atomic

SECTIONS = (
    ("verdict", "Verdict"),
    ("seal", "Seal"),
    ("table", "Table"),
    ("figures", "Figures"),
    ("calls", "Calls"),
    ("sweep", "Sweep"),
    ("samples", "Samples"),
    ("flow", "Flow"),
    ("judge", "Bar"),
    ("people", "People"),
    ("seeds", "Seeds"),
    ("environment", "Environment"),
    ("limitations", "Limitations"),
    ("files", "Files"),
)
FIGURES = {
    "pairs": "pairs",
    "pareto": "quality-against-cost",
    "curves": "loss-curves",
    "speed": "step-time",
    "calls": "quality-against-calls",
    "sweep": "sweep",
}
PAPER_INK = "#1b1f24"


def write_report(run: Path, table: Table | None = None) -> Path:
    """Reads a run directory and writes its report into its `report/` folder; returns the path of the page.

    Args:
        table: published figures to show beside the run's own.

    Raises:
        BakeoffError: no run directory, or it cannot be read.
    """
    page = gather(run)
    out = run / "report"
    drawn = _draw(page)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, drawing in drawn.items():
        write_atomic(out / "figures" / f"{name}.svg", figures.svg(drawing, PAPER_INK).encode())
        write_atomic(out / "figures" / f"{name}.pdf", figures.pdf(drawing))
    there = {"flow": page["scrubber"]["sheets"], "sweep": page["sweep"], "calls": page["calls"]}
    context = page | {
        "sections": [one for one in SECTIONS if there.get(one[0], True)],
        "rows": _rows(page),
        "colours": {row["name"]: figures.colour(i) for i, row in enumerate(page["main"])},
        "figures": {key: Markup(figures.svg(drawn[name])) if name in drawn else None for key, name in FIGURES.items()},
        "bars_passed": {
            f"{name}-s{seed.seed}": seed.standing for name, one in page["shown"].backbones.items() for seed in one.seeds
        },
        "cost": COSTS[page["protocol"].rule.cost],
        "solves": SOLVES,
        "figures_known": page["figures"],
        "figures_shown": (names := _shown(page)),
        "figures_of_trial": {trial: [_value(one, name) for name in names] for trial, one in page["measured"].items()},
        "toml": dump_protocol(page["protocol"]),
        "command": command(page["environment"]),
        "published": None if table is None else _published(table),
        "css": Markup(_template("report.css")),
        "script": Markup(_template("report.js")),
    }
    for name in ("report.html", "report.md"):
        write_atomic(out / name, _environment().get_template(name).render(context).encode())
    return out / "report.html"


def _draw(page: dict[str, Any]) -> dict[str, Any]:
    drawn = {"loss-curves": figures.loss_curves(page["curves"], page["protocol"].steps_per_epoch)}
    pairs = page["shown"].comparisons
    if pairs:
        drawn["pairs"] = figures.differences(pairs, page["scale"])
    if page["points"]:
        cost = COSTS[page["protocol"].rule.cost]
        drawn["quality-against-cost"] = figures.quality_against_cost(page["points"], page["scale"].figure, cost)
    if page["sweep"]:
        drawn["sweep"] = figures.sweep_losses(page["sweep"])
    if page["calls"]:
        colours = {row["name"]: index for index, row in enumerate(page["main"])}
        drawn["quality-against-calls"] = figures.quality_against_calls(page["calls"], colours)
    if page["bars"]:
        drawn["step-time"] = figures.step_times(page["bars"])
    return drawn


def _shown(page: dict[str, Any]) -> list[str]:
    """The figures that at least one trial has."""
    return [name for name in page["figures"] if any(_value(one, name) is not None for one in page["measured"].values())]


def _value(one: Measurement, name: str) -> float | None:
    return one.loss if name == "loss" else one.quality.figures.get(name) if one.quality else None


def _rows(page: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The main table: the outcome, every figure, the interval of the one that decides, every cost."""
    main, rule = page["main"], page["protocol"].rule

    def told(values: Iterable[float | None]) -> list[str]:
        return ["-" if value is None else figure(value) for value in values]

    def interval(row: dict[str, Any]) -> str:
        ends = row["intervals"].get(rule.quality)
        return "-" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"

    rows = [
        ("outcome", [row["outcome"] for row in main]),
        ("seeds that pass the bar", [row["passed"] for row in main]),
    ]
    for name, one in page["figures"].items():
        if any(name in row["figures"] for row in main):
            rows.append((one.label, told(row["figures"].get(name) for row in main)))
        if name == rule.quality:
            rows.append((f"interval of the {one.title} over seeds", [interval(row) for row in main]))
    rows.append(("loss over the memoriser's floor", told(row["over_floor"] for row in main)))
    rows.append(("parameters", ["-" if row["params"] is None else f"{row['params']:,}" for row in main]))
    for name, one in COSTS.items():
        if any(name in row["costs"] for row in main):
            rows.append((one.label, told(row["costs"].get(name) for row in main)))
    return rows


def _published(table: Table) -> dict[str, Any]:
    """The columns of a published table that our table has too."""
    columns = {
        "samples": lambda row: row.samples,
        "loss": lambda row: row.final_loss,
        "parameters": lambda row: row.params and f"{row.params:,.0f}",
        "step time, ms": lambda row: row.step_ms,
        "peak memory, GB": lambda row: row.peak_memory_gb,
        "wall-clock, min": lambda row: row.wall_min,
    }
    rows = [
        [row.name, *("-" if (value := read(row)) is None else figure(value) for read in columns.values())]
        for row in table.backbone
    ]
    return {"columns": list(columns), "rows": rows, "device": table.setup.device or "another machine"}


def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    made.filters["figure"] = lambda value: "-" if value is None else value if isinstance(value, str) else figure(value)
    made.filters["md"] = _markdown
    return made


def _template(name: str) -> str:
    return (files("bakeoff.report") / "templates" / name).read_text(encoding="utf-8")


def _markdown(text: str) -> str:
    """The text, escaped for Markdown and for a cell of a table."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
