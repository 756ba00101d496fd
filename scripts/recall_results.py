"""Write docs/results/recall.md from runs of recall, and the pilots that chose their size, steps and schedule.

    python scripts/recall_results.py runs/recall-quick [runs/recall-... ...] [--sweeps runs/swept ...]

Beside the page: recall.json with every measurement, and a picture of answers. A run that is not finished is marked.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from bakeoff.artefacts.sheets import png
from bakeoff.errors import BakeoffError
from bakeoff.protocol.control import controls
from bakeoff.protocol.sweep import Swept
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.files import read_json
from bakeoff.rundir.verify import verify
from bakeoff.tasks import build_task
from kept import with_kept
from paper_runs import Run, open_runs, swept_trials, write_results
from recall_curves import Rung, against_attention, against_state, rungs
from run_words import busy, command_of, made, swept_table, tries

ROOT = Path(__file__).parents[1]
SHOWN = 3  # sequences of a picture
LADDER, SHARE = "recall-ladder", "recall-share"  # runs whose curves are drawn, by the beginning of their names


def page(runs: list[Run], pilots: list[dict[str, Any]], pictures: Mapping[str, bytes]) -> str:
    parts = [
        "# Recall: who remembers what stood earlier?",
        "",
        "Written by `python scripts/recall_results.py` from the runs named here; every figure, of every seed, is in "
        "[recall.json](recall.json). What is asked, and how: [recall](../recall.md).",
    ]
    for run in runs:
        if not run.name.startswith(LADDER):
            parts += ["", *_of_run(run, pictures)]
    for title, words, picture, climbed in _curves(runs):
        found = list(rungs(climbed))
        parts += ["", f"## {title}", "", words, "", f"![{title}]({picture})", "", *_rungs(found), "", *_listed(climbed)]
    parts += ["", "## Pilots", "", *_pilots(pilots)]
    return "\n".join(parts) + "\n"


def _of_run(run: Run, pictures: Mapping[str, bytes]) -> Iterator[str]:
    protocol, found = run.run.protocol, verify(run.run.path)
    yield from (f"## {run.name}", "", protocol.description, "", "```sh", command_of(run), "```", "")
    if run.verdict.outcome == "incomplete":
        yield from (f"**Partial: {len(run.measured)} of {len(run.trials)} trials are done.**", "")
    if found.changed:
        yield from (f"**Changed since it was run: {', '.join(found.changed)}.**", "")
    yield from (f"{made(run)} Digest of the run: `{found.digest}`.", "")
    yield from (f"**Verdict: {headline(run.verdict)}**", "")
    yield from (line for line in (_control(run), busy(run)) if line)
    if run.shown.sweep is not None:
        yield from (*swept_table(run, run.shown.sweep), "")
    yield "| backbone | parameters | state, bytes | seeds that pass the bar | accuracy, 95 % interval over seeds |"
    yield "|---|---|---|---|---|"
    for name, result in run.shown.backbones.items():
        seeds = [one for one in run.measured.values() if one.backbone == name]
        interval = result.intervals.get("accuracy")
        accuracy = f"{result.figures['accuracy']:.4f}" + (
            f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        )
        params, state = seeds[0].params, seeds[0].state_bytes
        yield f"| {name} | {params:,} | {state:,} | {result.seeds_passed} of {len(seeds)} | {accuracy} |"
    yield from ("", "Every trial, with Wilson's interval of its answers at 95 %:", "")
    yield "| trial | questions a sequence | right | of | share | interval | held-out loss |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in run.measured.items():
        if one.quality is None:
            yield f"| {name} | diverged at step {one.diverged_at_step} | | | | | |"
            continue
        held = one.quality.figures.get("held_out_loss")
        for number, of, share, low, high in zip(*one.quality.detail.values(), strict=True):
            loss = "-" if held is None else f"{held:.4f}"
            cells = (
                name,
                f"{number:g}",
                f"{share * of:,.0f}",
                f"{of:,.0f}",
                f"{share:.4f}",
                f"{low:.4f} to {high:.4f}",
                loss,
            )
            yield "| " + " | ".join(cells) + " |"
    calibration = build_task(protocol).calibration()
    if calibration is not None:
        beaten = "; ".join(f"{name}, {figures['accuracy']:.4f}" for name, figures in calibration.baselines.items())
        yield from ("", f"To beat (medians of {calibration.draws} draws): {beaten}. The bar: {_bar(run)}.")
    if (picture := f"recall-{run.name}.png") in pictures:
        names = ", ".join(backbone.name for backbone in protocol.backbones)
        yield from ("", f"The same sequences under every backbone, from top to bottom: {names}.")
        yield from ("", f"![Sequences with their answers, right and wrong in colour]({picture})")


def _control(run: Run) -> str:
    """Whether the backbones of attention alone, the control of recall, solve the task."""
    return " ".join(one.said() for one in controls(run.run.protocol, run.shown))


def _curves(runs: list[Run]) -> Iterator[tuple[str, str, str, list[Run]]]:
    """Title, words, picture and runs of each curve that these runs make."""
    if ladder := [run for run in runs if run.name.startswith(LADDER)]:
        words = (
            "Right answers against what a model carries from token to token, in one model for all numbers of pairs; "
            "circles are Mamba's, squares attention's; lines go through the means of Mamba's of one width. Whiskers "
            "are Wilson's intervals at 95 %, of one trial each."
        )
        yield "The ladder: accuracy against state", words, "recall-ladder.svg", ladder
    if share := [run for run in runs if run.name.startswith(SHARE)]:
        words = (
            "Right answers against the share of layers that are attention; a point a seed, a line through means; a "
            "star is of fewer layers, the control."
        )
        yield "The share: how little attention is enough", words, "recall-share.svg", share


def _listed(runs: list[Run]) -> Iterator[str]:
    """Command, digest, verdict and sweep of each run."""
    for run in runs:
        found = verify(run.run.path)
        kept = "" if run.shown.sweep is None else _kept(run.shown.sweep)
        digest = f"Digest of the run: `{found.digest}` ({found.outcome})."
        told = " ".join(part for part in (made(run), _control(run), busy(run)) if part)
        yield f"- `{command_of(run)}`: {headline(run.verdict)}{kept} {told} {digest}"
    for run in runs:
        if run.shown.sweep is not None:
            width = run.run.protocol.model.d_model
            yield from ("", f"{run.name}, width {width}:", "", *swept_table(run, run.shown.sweep))


def _kept(found: Swept) -> str:
    return f" {found.key}: " + ", ".join(f"{name} {one.value:g}" for name, one in found.choices.items()) + "."


def _rungs(found: list[Rung]) -> Iterator[str]:
    """A row a trial, with the share of right answers and Wilson's interval at every number of pairs."""
    counts = sorted({one.pairs for one in found})
    yield "| width | trial | parameters | state, bytes | attention | " + " | ".join(f"{n} pairs" for n in counts) + " |"
    yield "|" + "---|" * (5 + len(counts))
    for _, rungs_of_trial in groupby(found, key=lambda one: (id(one.run), id(one.trial))):
        by_pairs = {one.pairs: one for one in rungs_of_trial}
        one = next(iter(by_pairs.values()))
        cells = (
            one.run.run.protocol.model.d_model,
            f"{one.trial.backbone}-s{one.trial.seed}",
            f"{one.trial.params:,}",
            f"{one.trial.state_bytes:,}",
            f"{one.attention:g}",
            *(f"{r.share:.4f} ({r.low:.4f} to {r.high:.4f})" if (r := by_pairs.get(n)) else "" for n in counts),
        )
        yield "| " + " | ".join(map(str, cells)) + " |"


def _bar(run: Run) -> str:
    bar = run.run.protocol.bar
    return ", ".join(f"{name} {value:g}" for name, value in bar.thresholds.items()) + f" on {bar.samples:,} sequences"


def _pilots(pilots: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        "They chose layers, schedule, sizes and steps, on a seed that no verdict reads; the bars were fixed before and "
        "did not move. Loss is the mean of ten steps at each tenth of training. One row is one command: "
        "`python scripts/pilot.py PROTOCOL --seed SEED --set ... --only BACKBONE --list FILE`; rows without parameters "
        "are of an earlier script that did not write them down."
    )
    yield from ("", tries(pilots), "")
    yield "| protocol | backbone | seed | changed | parameters | accuracy | loss along training |"
    yield "|---|---|---|---|---|---|---|"
    for one in pilots:
        curve = " ".join(f"{loss:.2f}" for loss in one["losses"])
        changed = ", ".join(f"`{change}`" for change in one["changes"])
        params = "" if one["params"] is None else f"{one['params']:,}"
        accuracy = one["figures"]["accuracy"]  # of one that was stopped, nothing is known
        reached = "" if accuracy is None else f"{accuracy:.3f}"
        cells = (one["protocol"], one["backbone"], one["seed"], changed, params, reached, curve)
        yield "| " + " | ".join(map(str, cells)) + " |"


def pictures_of(runs: list[Run]) -> dict[str, bytes]:
    """The first sequences of the first seed of every backbone, one below the other."""
    from PIL import Image

    found = {}
    for run in runs:
        seed, kind = run.run.protocol.seeds[0], run.run.kind
        names = [f"{backbone.name}-s{seed}" for backbone in run.run.protocol.backbones]
        sheets = [
            kind.sheet(run.run.trial(*_split(name)).items().take(0, SHOWN)) for name in names if name in run.measured
        ]
        if not sheets:
            continue
        whole = Image.new("RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)), (255, 255, 255))
        top = 0
        for sheet in sheets:
            whole.paste(sheet, (0, top))
            top += sheet.height
        found[f"recall-{run.name}.png"] = png(whole)
    return found


def _split(name: str) -> tuple[str, int]:
    backbone, _, seed = name.rpartition("-s")
    return backbone, int(seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--pilots", type=Path, default=ROOT / "docs/results/recall-pilots.json", help="their JSON")
    parser.add_argument("--sweeps", nargs="*", type=Path, default=[], help="runs whose sweeps the others took over")
    parser.add_argument("--keep", action="store_true", help="leave what the page says of other protocols' runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        runs = open_runs(options.runs)
        pilots = read_json(options.pilots)["pilots"]
        drawn = pictures_of([run for run in runs if not run.name.startswith(LADDER)])
        for _, _, name, climbed in _curves(runs):
            drawn[name] = (against_state if LADDER in name else against_attention)(list(rungs(climbed)))
        text = page(runs, pilots, drawn)
        sweeps = {run.name: swept_trials(run.run) for run in map(Run.open, options.sweeps)}
        document = {"runs": [run.document() for run in runs], "sweeps": sweeps}
        if options.keep:
            text, document = with_kept(options.out, "recall", text, document)
        print(write_results(options.out, "recall", text, document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"recall_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
