"""Write docs/results/mnist-quick.md: the rates that its backbones keep, and the verdict.

    python scripts/mnist_results.py runs/mnist-quick --sweep runs/swept

Beside the page: mnist-quick.json with every measurement, and the samples.
"""

import argparse
import sys
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.verify import verify
from paper_runs import Run, open_runs, swept_trials, write_results
from run_words import busy, command_of, images_table, made, swept_table

ROOT = Path(__file__).parents[1]
SAMPLES = "mnist-quick-samples.png"


def page(run: Run, sweep: Run, spent: str) -> str:
    parts = [
        "# mnist-quick: the CPU default",
        "",
        "Written by `python scripts/mnist_results.py`; every figure, of every seed, is in [mnist-quick.json]"
        "(mnist-quick.json). Optimiser and times are the best of [the recipe's table](recipe.md), chosen on a seed "
        "that no verdict reads, with all three backbones; before, the preset trained with [AdamW and even times]"
        "(mnist-quick-adamw.md).",
        "",
        run.run.protocol.description,
        "",
        f"**Verdict: {headline(run.verdict)}**",
        "",
        " ".join(part for part in (_told(run), busy(run), f"{spent}." if spent else "") if part),
        "",
        *images_table(run),
        "",
        f"![Samples, the same noise in the same place under every backbone]({SAMPLES})",
        "",
        "## The rates",
        "",
        "[The sweep](../sweep.md) says how a rate is chosen.",
    ]
    if sweep.shown.sweep is not None:
        parts += [*swept_table(sweep, sweep.shown.sweep), "", _told(sweep)]
    return "\n".join(parts) + "\n"


def _told(run: Run) -> str:
    found = verify(run.run.path)
    return f"`{command_of(run)}`. {made(run)} Digest of the run: `{found.digest}`."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run with swept rates")
    parser.add_argument("--sweep", type=Path, required=True, help="the run whose sweep found them")
    parser.add_argument("--spent", default="", help="the line on CPU time that the run printed at its end")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        (run,) = open_runs([options.run])
        sweep = Run.open(options.sweep)
        drawn = {SAMPLES: (run.run.path / "samples.png").read_bytes()}
        document = {"runs": [run.document()], "sweeps": {str(verify(sweep.run.path).digest): swept_trials(sweep.run)}}
        print(write_results(options.out, "mnist-quick", page(run, sweep, options.spent), document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"mnist_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
