"""Output of `bakeoff ls`: presets, the backbones that ship, and the runs below a folder with their progress."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bakeoff.errors import BakeoffError
from bakeoff.protocol.catalogue import catalogue
from bakeoff.protocol.presets import load_protocol, preset_names
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import read_json

DEPTH = 3


def list_presets() -> list[dict[str, Any]]:
    presets = (load_protocol(name) for name in preset_names())
    return [{"name": p.name, "description": p.description, "digest": p.digest()} for p in presets]


def list_backbones() -> list[dict[str, Any]]:
    """The catalogue, each entry with its source and written out."""
    return [
        {"about": entry.about, "source": entry.source, **entry.document, "versions": entry.versions}
        for entry in catalogue().values()
    ]


def show_backbones(console: Console) -> None:
    table = Table("backbone", "what it is", "layers", "source")
    for name, entry in catalogue().items():
        table.add_row(
            name, escape(entry.about), escape(entry.backbone.arranged()), entry.source.removeprefix("https://")
        )
    console.print(table)
    console.print(
        'A protocol takes one with \\[\\[backbones]] from = "jamba"; keys beside it go over its own.', highlight=False
    )


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run directory at most three levels below the folder; unreadable ones are included and marked."""
    found = sorted(path.parent for depth in range(DEPTH + 1) for path in folder.glob("*/" * depth + "protocol.toml"))
    return [_describe(path) for path in found]


def _describe(path: Path) -> dict[str, Any]:
    try:
        run = RunDir.open(path)
        trials = list(run.all_trials())
        verdict = read_json(run.verdict) if run.verdict.is_file() else {}
    except BakeoffError as error:
        return {"path": str(path), "status": "unreadable", "error": str(error)}
    done = sum(trial.done for trial in trials)
    return {
        "path": str(path),
        "protocol": run.protocol.name,
        "digest": run.digest,
        "status": "complete" if verdict else "incomplete",
        "trials_done": done,
        "trials": len(trials),
        "outcome": verdict.get("outcome"),
        "winner": verdict.get("winner"),
    }


def show_listing(console: Console, presets: list[dict[str, Any]], runs: list[dict[str, Any]], folder: Path) -> None:
    table = Table("preset", "what it is")
    for preset in presets:
        table.add_row(preset["name"], escape(preset["description"]))
    console.print(table)
    if not runs:
        console.print(f"no runs below {escape(str(folder))}")
        return
    table = Table("run", "protocol", "trials", "verdict")
    for run in runs:
        if run["status"] == "unreadable":
            table.add_row(escape(run["path"]), "unreadable", "", escape(run["error"]))
            continue
        verdict = run["winner"] or run["outcome"] or "-"
        table.add_row(
            escape(run["path"]), run["protocol"], f"{run['trials_done']}/{run['trials']}", escape(str(verdict)[:80])
        )
    console.print(table)
