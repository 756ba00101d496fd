"""Write docs/results/NAME.md of runs whose items are images: their verdicts, calibration, samples and pilots.

    python scripts/images_results.py emoji runs/emoji-quick
    python scripts/images_results.py objectives runs/objectives-quick

Pilots are those of docs/results/NAME-pilots.json. Beside the page: NAME.json with every measurement, and the samples.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.files import read_json
from bakeoff.rundir.verify import verify
from bakeoff.tasks import build_task
from paper_runs import Run, open_runs, write_results
from run_words import busy, command_of, images_table, made, swept_table, told, tries

ROOT = Path(__file__).parents[1]
TITLES = {
    "emoji": "# Emoji: colour images on a CPU",
    "objectives": "# Process x prediction: what is the process's, and what the prediction's?",
}
DOCS = {"emoji": "[images](../images.md)", "objectives": "[flow and diffusion](../objectives.md)"}
FIGURES = ("asked_for", "precision", "recall", "authentic", "copying")


def page(name: str, runs: Sequence[Run], pilots: Sequence[dict[str, Any]]) -> str:
    parts = [
        TITLES[name],
        "",
        f"Written by `python scripts/images_results.py {name}` from the runs named here; every figure, of every seed, "
        f"is in [{name}.json]({name}.json). What is asked, and how: {DOCS[name]}.",
    ]
    for run in runs:
        parts += ["", *_of_run(name, run)]
    if pilots:
        parts += ["", "## Pilots", "", *_pilots(pilots)]
    return "\n".join(parts) + "\n"


def picture(name: str, run: Run) -> str:
    return f"{name}-{run.name}.png"


def _of_run(name: str, run: Run) -> Iterator[str]:
    protocol, found = run.run.protocol, verify(run.run.path)
    yield from (f"## {run.name}", "", protocol.description, "", "```sh", command_of(run), "```", "")
    if run.verdict.outcome == "incomplete":
        yield from (f"**Partial: {len(run.measured)} of {len(run.trials)} trials are done.**", "")
    yield from (f"{made(run)} Digest of the run: `{found.digest}` ({found.outcome}).", "")
    yield from (f"**Verdict: {headline(run.verdict)}**", "")
    if busy(run):
        yield from (busy(run), "")
    yield from images_table(run)
    yield from ("", *_more_figures(run))
    if any(backbone.objective for backbone in protocol.backbones):
        yield from ("", *_by_process(run))
    if run.shown.sweep is not None:
        yield from swept_table(run, run.shown.sweep)
    yield from ("", *_calibration(run))
    if run.measured:
        yield from ("", f"![Samples, the same noise in the same place under every backbone]({picture(name, run)})")


def _more_figures(run: Run) -> Iterator[str]:
    """What else the judge says of the images; means over the seeds."""
    there = [one for one in FIGURES if one in run.run.figures]
    yield "| backbone | parameters | " + " | ".join(there) + " |"
    yield "|---|---|" + "---|" * len(there)
    for name, shown in run.shown.backbones.items():
        params = next((f"{one.params:,}" for one in run.measured.values() if one.backbone == name), "none trained")
        yield f"| {name} | {params} | " + " | ".join(told(shown.figures, one, ".4g") for one in there) + " |"


def _by_process(run: Run) -> Iterator[str]:
    """The Fréchet distance with the prediction across and the process down, and how much of the sweep diverged."""
    backbones = run.run.protocol.backbones
    objectives: dict[str, Any] = {one.name: one.objective or run.run.protocol.objective for one in backbones}
    predictions = list(dict.fromkeys(one.prediction for one in objectives.values()))
    yield "Fréchet distance, mean over the seeds, by what the network gives; in brackets the share of the swept rates"
    yield "at which training diverged:"
    yield ""
    yield "| layers | process | " + " | ".join(predictions) + " |"
    yield "|---|---|" + "---|" * len(predictions)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in backbones:
        objective, swept = objectives[one.name], run.shown.sweep
        diverged = f" ({swept.choices[one.name].diverged:.0%})" if swept is not None else ""
        cell = told(run.shown.backbones[one.name].figures, "frechet", ".1f") + diverged
        row, given = rows.setdefault((", ".join(map(str, one.mixers)), objective.kind), {}), objective.prediction
        row[given] = f"{row[given]}; {cell}" if given in row else cell
    for (layers, process), cells in rows.items():
        yield f"| {layers} | {process} | " + " | ".join(cells.get(one, "") for one in predictions) + " |"


def _calibration(run: Run) -> Iterator[str]:
    """What the judge says of real images and of broken ones, by which the bar was set."""
    protocol = run.run.protocol
    calibration = build_task(protocol).calibration()
    if calibration is None:
        return
    kinds = calibration.samples.get(protocol.bar.samples) or next(iter(calibration.samples.values()))
    bar = ", ".join(f"{name} {value:g}" for name, value in protocol.bar.thresholds.items())
    there = list(protocol.bar.thresholds)
    yield f"The bar, {bar}, was set by {calibration.draws} draws of {protocol.bar.samples}: least, median, largest."
    yield ""
    yield "| images | " + " | ".join(there) + " |"
    yield "|---|" + "---|" * len(there)
    for kind, spread in kinds.items():
        yield f"| {kind} | " + " | ".join(", ".join(f"{one:.4g}" for one in spread[name]) for name in there) + " |"


def _pilots(pilots: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield (
        "They chose size, steps and recipe, on a seed that no verdict reads; the bar was fixed before and stayed. "
        "`python scripts/pilot.py PROTOCOL --seed SEED --set ... --only BACKBONE --list FILE --pictures FOLDER`"
    )
    yield from ("", tries(pilots), "")
    yield "| protocol | backbone | seed | changed | parameters | recognised | Fréchet distance | loss along training |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in pilots:
        curve = " ".join(f"{loss:.2f}" for loss in one["losses"])
        changed, shown = ", ".join(f"`{change}`" for change in one["changes"]), one["figures"]
        cells = (one["protocol"], one["backbone"], one["seed"], changed, f"{one['params']:,}")
        yield (
            "| " + " | ".join([*map(str, cells), f"{shown['recognised']:.3f}", f"{shown['frechet']:.0f}", curve]) + " |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(TITLES), help="which page")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, finished or not")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        runs = open_runs(options.runs)
        listed = options.out / f"{options.name}-pilots.json"
        pilots = read_json(listed)["pilots"] if listed.is_file() else []
        drawn = {
            picture(options.name, run): (run.run.path / "samples.png").read_bytes() for run in runs if run.measured
        }
        document = {"runs": [run.document() for run in runs]}
        print(write_results(options.out, options.name, page(options.name, runs, pilots), document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"images_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
