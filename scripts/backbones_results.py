"""Write docs/results/backbones.md: eight sorts of backbone, each against the modern Transformer.

    python scripts/backbones_results.py runs/backbones-quick --sweep runs/swept

Beside the page: backbones.json with every measurement, the differences as a picture, and the samples.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.protocol.scaling import quality_scale
from bakeoff.protocol.verdict import headline
from bakeoff.report import figures
from bakeoff.rundir.directory import read_seal
from bakeoff.rundir.verify import verify
from paper_runs import Run, open_runs, swept_trials, write_results
from run_words import busy, command_of, images_table, made, swept_table, told

ROOT = Path(__file__).parents[1]
INK = "#1b1f24"
SAMPLES, PAIRS = "backbones-samples.png", "backbones-pairs.svg"


def page(run: Run) -> str:
    found = verify(run.run.path)
    parts = [
        "# Backbones: what do Mamba-2, Mamba-3 and hybrids give against a modern Transformer?",
        "",
        "Written by `python scripts/backbones_results.py`; every figure, of every seed, is in [backbones.json]"
        "(backbones.json). What each backbone is, and where it is from: [the mixers that ship](../mixers.md).",
        "",
        run.run.protocol.description,
        "",
        *("```sh", command_of(run), "```", ""),
    ]
    if run.verdict.outcome == "incomplete":
        parts += [f"**Partial: {len(run.measured)} of {len(run.trials)} trials are done.**", ""]
    parts += [f"{made(run)} Digest of the run: `{found.digest}` ({found.outcome}).", ""]
    parts += [f"**Verdict: {headline(run.verdict)}**", ""]
    parts += [busy(run), ""] if busy(run) else []
    parts += [
        f"![Loss of each against the reference: intervals and the margin]({PAIRS})",
        "",
        *_against(run),
        "",
        *images_table(run),
    ]
    if run.shown.sweep is not None:
        parts += list(swept_table(run, run.shown.sweep))
    parts += ["", *_costs(run), "", f"![Samples, the same noise in the same place under every backbone]({SAMPLES})"]
    return "\n".join(parts) + "\n"


def _against(run: Run) -> Iterator[str]:
    """Each backbone's loss over that of the one that all are compared with."""
    yield "Loss over that of the reference, paired by seed, with the 95 % interval of the geometric mean:"
    yield ""
    yield "| backbone | reference | loss over it | interval | within the margin, or beyond | outcome |"
    yield "|---|---|---|---|---|---|"
    for one in run.shown.comparisons:
        ratio = f"{math.exp(one.difference.mean):.3f}"
        interval = f"{math.exp(one.interval[0]):.3f} to {math.exp(one.interval[1]):.3f}" if one.interval else "one seed"
        cells = (one.first, one.second, ratio, interval, one.outcome, run.shown.backbones[one.first].outcome)
        yield "| " + " | ".join(cells) + " |"


def _costs(run: Run) -> Iterator[str]:
    yield (
        "What each costs: widths as matched, of those that the literature has for this d_model; arithmetic as counted, "
        "time probed in turn, memory of the process."
    )
    yield ""
    yield "| backbone | layers | widths | parameters | FLOPs a sample | step time | sampling time | peak memory |"
    yield "|---|---|---|---|---|---|---|---|"
    planned = {one["name"]: one for one in read_seal(run.run.path).plan["backbones"]}
    for backbone in run.run.protocol.backbones:
        first = next((one for one in run.measured.values() if one.backbone == backbone.name), None)
        if first is None:
            continue
        costs = run.shown.backbones[backbone.name].costs
        plan = planned[backbone.name]
        nominal = plan["nominal"]["widths"]
        cells = (
            backbone.name,
            str(len(plan["layers"])),
            ", ".join(f"{mixer} {width} of {nominal[mixer]}" for mixer, width in plan["widths"].items()),
            f"{first.params:,}",
            f"{first.flops_per_sample / 1e6:,.1f} M",
            told(costs, "step_time_ms", ".1f", " ms"),
            told(run.sampling_ms, backbone.name, ".1f", " ms"),
            told(costs, "peak_memory_mib", ",.0f", " MiB"),
        )
        yield "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of backbones-quick, finished or not")
    parser.add_argument("--sweep", type=Path, help="the run whose sweep found the rates, if it was another one")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        (run,) = open_runs([options.run])
        pairs = figures.differences(
            run.shown.comparisons, quality_scale(run.run.protocol.rule, run.run.figures["loss"])
        )
        drawn = {PAIRS: figures.svg(pairs, INK).encode(), SAMPLES: (run.run.path / "samples.png").read_bytes()}
        document: dict[str, object] = {"runs": [run.document()]}
        if options.sweep is not None:
            sweep = Run.open(options.sweep)
            document["sweeps"] = {str(verify(options.sweep).digest): swept_trials(sweep.run)}
        print(write_results(options.out, "backbones", page(run), document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"backbones_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
