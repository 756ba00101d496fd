"""Write docs/results/tracking.md from runs of state tracking, and the pilots that chose their size and steps.

    python scripts/tracking_results.py runs/tracking-quick [...]

Beside the page: tracking.json with every measurement, and the share of right answers by place as a picture. A run whose
control, the GRU, fails the bar is marked as void.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from bakeoff.errors import BakeoffError
from bakeoff.protocol.control import controls, void
from bakeoff.protocol.verdict import headline
from bakeoff.report import figures
from bakeoff.rundir.files import read_json
from bakeoff.rundir.verify import verify
from bakeoff.tasks import build_task
from paper_runs import Run, open_runs, write_results
from run_words import busy, command_of, made, swept_table, tries

ROOT = Path(__file__).parents[1]
INK = "#1b1f24"


def page(runs: list[Run], pilots: list[dict[str, Any]]) -> str:
    parts = [
        "# State tracking: whose memory carries?",
        "",
        "Written by `python scripts/tracking_results.py` from the runs named here; every figure, of every seed, is in "
        "[tracking.json](tracking.json). What is asked, and how: [state tracking](../tracking.md).",
    ]
    for run in runs:
        parts += ["", *_of_run(run)]
    parts += ["", "## Pilots", "", *_pilots(pilots)]
    return "\n".join(parts) + "\n"


def control_of(run: Run) -> str:
    """Whether the control behaved, in a sentence; a page of a run in which it did not is void."""
    why = void(run.run.protocol, run.shown)
    return f"**VOID. {why}**" if why else " ".join(one.said() for one in controls(run.run.protocol, run.shown))


def _of_run(run: Run) -> Iterator[str]:
    protocol, found = run.run.protocol, verify(run.run.path)
    yield from (f"## {run.name}", "", protocol.description, "", "```sh", command_of(run), "```", "")
    if run.verdict.outcome == "incomplete":
        yield from (f"**Partial: {len(run.measured)} of {len(run.trials)} trials are done.**", "")
    yield from (f"{made(run)} Digest of the run: `{found.digest}` ({found.outcome}).", "")
    yield from (control_of(run), "", f"**Verdict: {headline(run.verdict)}**", "")
    if busy(run):
        yield from (busy(run), "")
    if run.shown.sweep is not None:
        yield from (*swept_table(run, run.shown.sweep), "")
    yield "`tracked`: scaled accuracy in the last quarter of the test sequence; then right answers by place."
    yield ""
    places = _places(run)
    yield "| trial | parameters | tracked | held-out loss | " + " | ".join(f"{a} to {b}" for a, b in places) + " |"
    yield "|---|---|---|---|" + "---|" * len(places)
    for name, one in run.measured.items():
        if one.quality is None:
            yield f"| {name} | {one.params:,} | diverged at step {one.diverged_at_step} |" + " |" * (1 + len(places))
            continue
        shares = one.quality.detail["share_right"]
        cells = (name, f"{one.params:,}", *(f"{one.quality.figures[key]:.4f}" for key in ("tracked", "held_out_loss")))
        yield "| " + " | ".join([*cells, *(f"{share:.4f}" for share in shares)]) + " |"
    calibration = build_task(protocol).calibration()
    if calibration is not None:
        kinds = next(iter(calibration.samples.values()))
        told = "; ".join(f"{name}, {spread['tracked'][1]:.3f}" for name, spread in kinds.items())
        bar = ", ".join(f"{name} {value:g}" for name, value in protocol.bar.thresholds.items())
        yield from ("", f"The bar, {bar}, was set by these medians of {calibration.draws} draws: {told}.")
    yield from ("", f"![Right answers by place](tracking-{run.name}.svg)")


def _places(run: Run) -> list[tuple[int, int]]:
    detail = next(one.quality.detail for one in run.measured.values() if one.quality is not None)
    return [(round(a), round(b)) for a, b in zip(detail["first_place"], detail["last_place"], strict=True)]


def by_place(run: Run) -> bytes:
    """A line through the means of each backbone at the last place of each bin, and a point a seed."""
    drawn = Figure(figsize=(figures.WIDTH, figures.HEIGHT), layout="constrained")
    axes = drawn.add_subplot(
        xscale="log", xlabel="last of the places that are counted together", ylabel="share of right answers"
    )
    ends = [last for _, last in _places(run)]
    for index, backbone in enumerate(run.run.protocol.backbones):
        qualities = [one.quality for one in run.measured.values() if one.backbone == backbone.name]
        shares = [one.detail["share_right"] for one in qualities if one is not None]
        if shares:
            colour = figures.colour(index)
            axes.plot(ends, [fmean(at) for at in zip(*shares, strict=True)], color=colour, label=backbone.name)
            for one in shares:
                axes.plot(ends, one, "o", color=colour, alpha=0.6, markersize=4)
    axes.axvline(ends[0], color="0.8", linewidth=1)
    axes.set_xticks(ends, [str(end) for end in ends])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False)
    return figures.svg(drawn, INK).encode()


def _pilots(pilots: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        "They chose size, steps and schedule, on a seed that no verdict reads; the bar was fixed before and did not "
        "move. What is changed is told against the preset as it stands now; the Transformer is the one that is now "
        "named modern. "
        "`python scripts/pilot.py PROTOCOL --seed SEED --set ... --only BACKBONE --list FILE`"
    )
    yield from ("", tries(pilots), "")
    yield "| protocol | backbone | seed | changed | parameters | tracked | loss along training |"
    yield "|---|---|---|---|---|---|---|"
    for one in pilots:
        curve = " ".join(f"{loss:.2f}" for loss in one["losses"])
        changed = ", ".join(f"`{change}`" for change in one["changes"])
        cells = (one["protocol"], one["backbone"], one["seed"], changed, f"{one['params']:,}")
        yield "| " + " | ".join([*map(str, cells), f"{one['figures']['tracked']:.3f}", curve]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--pilots", type=Path, default=ROOT / "docs/results/tracking-pilots.json", help="their JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        runs = open_runs(options.runs)
        pictures = {f"tracking-{run.name}.svg": by_place(run) for run in runs if run.measured}
        text = page(runs, read_json(options.pilots)["pilots"])
        print(write_results(options.out, "tracking", text, {"runs": [run.document() for run in runs]}, pictures))
    except (BakeoffError, OSError) as error:
        print(f"tracking_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
