"""Write docs/results/mnist-quick.md: what a learning rate of its own changed for each backbone of mnist-quick.

    python scripts/mnist_results.py runs/mnist-quick --before runs/one-rate-for-all --sweeps runs/swept [...]

Beside the page: mnist-quick.json with every measurement, and the samples of both runs.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.protocol.verdict import headline
from bakeoff.run.verify import verify
from paper_runs import Run, open_runs, swept_trials, write_results
from run_words import busy, command_of, made, swept_table

ROOT = Path(__file__).parents[1]
BEFORE, AFTER = "mnist-quick-one-rate.png", "mnist-quick-own-rate.png"


def page(after: Run, before: Run, sweeps: list[Run]) -> str:
    parts = [
        "# mnist-quick: one learning rate for all, and to each its own",
        "",
        "Written by `python scripts/mnist_results.py`; every figure, of every seed, is in [mnist-quick.json]"
        "(mnist-quick.json). Both runs have the same seeds, steps, sizes and bar; the rate alone differs. "
        "[The sweep](../sweep.md) says how a rate is chosen.",
        "",
        "## What was tried",
    ]
    for run in sweeps:
        if run.shown.sweep is not None:
            parts += [*swept_table(run.name, run.shown.sweep), "", _told(run)]
    parts += ["", "## What it changed", "", *_compared(before, after), ""]
    for title, run in (("One rate for all", before), ("To each its own", after)):
        told = " ".join(part for part in (_told(run), busy(run)) if part)
        parts += [f"**{title}: {headline(run.verdict)}**", "", told, ""]
    parts += ["Samples with one rate for all, then with each its own; the same noise in the same place:", ""]
    parts += [f"![Samples, {title}]({name})" for title, name in (("one rate", BEFORE), ("its own rate", AFTER))]
    return "\n".join(parts) + "\n"


def _told(run: Run) -> str:
    found = verify(run.run.path)
    return f"`{command_of(run)}`. {made(run)} Digest of the run: `{found.digest}` ({found.outcome})."


def _compared(before: Run, after: Run) -> Iterator[str]:
    yield "Means over the seeds; for the loss the 95 % interval over them."
    yield ""
    yield "| backbone | rate | seeds that pass | recognised | classes | Frechet distance | loss | step time |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in before.shown.backbones:
        for run in (before, after):
            result, rate = run.shown.backbones[name], run.run.protocol.of(_backbone(run, name)).training.lr
            interval = result.intervals.get("loss")
            cells = (
                name,
                f"{rate:g}",
                f"{result.seeds_passed} of {len(result.seeds)}",
                *(f"{result.figures[figure]:.4g}" for figure in ("recognised", "classes", "frechet")),
                f"{result.figures['loss']:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""),
                f"{1000 * run.run.medians('step_time_s')[name]:.1f} ms",
            )
            yield "| " + " | ".join(cells) + " |"


def _backbone(run: Run, name: str) -> Backbone:
    return next(one for one in run.run.protocol.backbones if one.name == name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("after", type=Path, help="the run with swept rates")
    parser.add_argument("--before", type=Path, required=True, help="the run with one rate for all")
    parser.add_argument("--sweeps", nargs="*", type=Path, default=[], help="runs of sweeps, the shipped one last")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        after, before = open_runs([options.after, options.before])
        sweeps = [Run.open(path) for path in options.sweeps]
        drawn = {
            name: run.run.path.joinpath("samples.png").read_bytes() for name, run in ((BEFORE, before), (AFTER, after))
        }
        document = {
            "runs": [before.document(), after.document()],
            "sweeps": {str(verify(run.run.path).digest): swept_trials(run.run) for run in sweeps},
        }
        print(write_results(options.out, "mnist-quick", page(after, before, sweeps), document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"mnist_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
