"""Write docs/results/mnist-quick.md: what a learning rate of its own changed for each backbone of mnist-quick.

    python scripts/mnist_results.py runs/mnist-quick --sweeps runs/swept [...]

Beside the page: mnist-quick.json with every measurement, and the samples.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.verify import verify
from paper_runs import Run, open_runs, swept_trials, write_results
from run_words import busy, command_of, images_table, made, swept_table

ROOT = Path(__file__).parents[1]
SAMPLES = "mnist-quick-samples.png"
FORMER = 2e-3  # the rate that all backbones had before


def page(run: Run, sweeps: list[Run]) -> str:
    parts = [
        "# mnist-quick: to each backbone its own learning rate",
        "",
        "Written by `python scripts/mnist_results.py`; every figure, of every seed, is in [mnist-quick.json]"
        "(mnist-quick.json). [The sweep](../sweep.md) says how a rate is chosen.",
        "",
        "## What was tried",
    ]
    for one in sweeps:
        if one.shown.sweep is not None:
            parts += [*swept_table(one.name, one.shown.sweep), "", _told(one)]
    parts += ["", "## What it changed", "", *_compared(run, sweeps), ""]
    parts += ["## The verdict with it", "", f"**{headline(run.verdict)}**", ""]
    parts += [" ".join(part for part in (_told(run), busy(run)) if part), "", *images_table(run), ""]
    parts += [f"![Samples, the same noise in the same place under every backbone]({SAMPLES})"]
    return "\n".join(parts) + "\n"


def _told(run: Run) -> str:
    found = verify(run.run.path)
    return f"`{command_of(run)}`. {made(run)} Digest of the run: `{found.digest}`."


def _compared(run: Run, sweeps: list[Run]) -> Iterator[str]:
    """On the seed of the sweep, figures at the rate that all had and at the one that each keeps."""
    yield f"One trial each on the seed of the sweep: at {FORMER:g}, which all had before, and at what each keeps."
    yield ""
    yield "| backbone | rate | held-out loss | training loss | recognised | classes | Frechet distance |"
    yield "|---|---|---|---|---|---|---|"
    trials = {name: one for sweep in sweeps for name, one in swept_trials(sweep.run).items()}
    for backbone in run.run.protocol.backbones:
        for rate in (FORMER, run.run.protocol.of(backbone).training.lr):
            one = trials[f"{backbone.name}-lr-{rate:g}"]
            figures = one["quality"]["figures"]
            shown = ("recognised", "classes", "frechet")
            cells = (f"{figures['held_out_loss']:.4f}", f"{one['loss']:.4f}", *(f"{figures[key]:.4g}" for key in shown))
            yield "| " + " | ".join((backbone.name, f"{rate:g}", *cells)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run with swept rates")
    parser.add_argument("--sweeps", nargs="+", type=Path, required=True, help="runs of sweeps, the shipped one last")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        (run,) = open_runs([options.run])
        sweeps = [Run.open(path) for path in options.sweeps]
        drawn = {SAMPLES: (run.run.path / "samples.png").read_bytes()}
        found = {str(verify(one.run.path).digest): swept_trials(one.run) for one in sweeps}
        document = {"runs": [run.document()], "sweeps": found}
        print(write_results(options.out, "mnist-quick", page(run, sweeps), document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"mnist_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
