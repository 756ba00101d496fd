"""Writes the report: `report.html` (one file, no request to anywhere), `report.md`, and the figures for a paper."""

import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from bakeoff.protocol.audit.published import Table
from bakeoff.protocol.presets import dump_protocol
from bakeoff.protocol.verdict import figure
from bakeoff.report import figures
from bakeoff.report.gather import command, gather
from bakeoff.run.files import write_atomic

SECTIONS = (
    ("verdict", "Verdict"),
    ("seal", "Seal"),
    ("table", "Table"),
    ("figures", "Figures"),
    ("samples", "Samples"),
    ("flow", "Flow"),
    ("judge", "Judge"),
    ("people", "People"),
    ("seeds", "Seeds"),
    ("environment", "Environment"),
    ("limitations", "Limitations"),
    ("files", "Files"),
)
PAPER_INK = "#1b1f24"


def write_report(run: Path, table: Table | None = None) -> Path:
    """Read a run directory and write its report into `report/` in it; returns the page.

    Args:
        table: published figures to stand beside the run's own.

    Raises:
        BakeoffError: no run directory, or one that cannot be read.
    """
    page = gather(run)
    out = run / "report"
    drawn = _draw(page)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, drawing in drawn.items():
        write_atomic(out / "figures" / f"{name}.svg", figures.svg(drawing, PAPER_INK).encode())
        write_atomic(out / "figures" / f"{name}.pdf", figures.pdf(drawing))
    context = page | {
        "sections": [one for one in SECTIONS if one[0] != "flow" or page["scrubber"]["sheets"]],
        "rows": _rows(page["main"]),
        "colours": {row["name"]: figures.colour(i) for i, row in enumerate(page["main"])},
        "figures": {
            key: Markup(figures.svg(drawn[name])) if name in drawn else None
            for key, name in (("pareto", "quality-against-speed"), ("curves", "loss-curves"), ("speed", "step-time"))
        },
        "bars_passed": {
            f"{name}-s{seed.seed}": seed.standing for name, one in page["shown"].backbones.items() for seed in one.seeds
        },
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
    if page["points"]:
        drawn["quality-against-speed"] = figures.quality_against_speed(page["points"])
    if page["bars"]:
        drawn["step-time"] = figures.step_times(page["bars"])
    return drawn


def _rows(main: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    def interval(row: dict[str, Any]) -> str:
        ends = row["loss_interval"]
        return "-" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"

    def scaled(key: str, by: float = 1.0) -> list[str]:
        return ["-" if row[key] is None else figure(row[key] / by) for row in main]

    return [
        ("outcome", [row["outcome"] for row in main]),
        ("seeds that pass the bar", [row["passed"] for row in main]),
        ("recognised", scaled("recognised")),
        ("Fréchet distance", scaled("frechet")),
        ("loss, last epoch", scaled("loss")),
        ("its interval over seeds", [interval(row) for row in main]),
        ("loss over the memoriser's floor", scaled("over_floor")),
        ("parameters", ["-" if row["params"] is None else f"{row['params']:,}" for row in main]),
        ("MFLOP a sample", scaled("flops", 1e6)),
        ("step time, ms", scaled("step_time_ms")),
        ("sampling the grid, s", scaled("sampling_time_s")),
        ("network evaluations a sample", scaled("nfe")),
        ("peak memory, MiB", scaled("memory_mib")),
        ("state, KiB", scaled("state_bytes", 1024)),
        ("wall-clock a trial, s", scaled("wall_s")),
    ]


def _published(table: Table) -> dict[str, Any]:
    """The columns of a published table that ours has, too."""
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
    made.filters["ratio"] = lambda log: f"{100 * math.expm1(log):+.2f} %"
    made.filters["md"] = _markdown
    return made


def _template(name: str) -> str:
    return (files("bakeoff.report") / "templates" / name).read_text(encoding="utf-8")


def _markdown(text: str) -> str:
    """Text that stays text in Markdown and in a cell of a table."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
