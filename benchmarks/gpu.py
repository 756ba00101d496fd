"""Correctness and speed of the GPU kernels, the blocks and the training step, in one call of under ten minutes.

    python -m benchmarks.gpu [--json FILE] [--only scan blocks] [--seconds 540] [--tune] [--dry-run] [--toy]

Prints a Markdown table. A section that fails says so and the others go on; what is not installed (mamba-ssm) is left
out and named. Rivals take turns, times are medians of CUDA events. `--tune` tries other tiles first.
`--toy` runs the same code at sizes that Triton's interpreter can do on a CPU, where its times mean nothing.

Two floors: the bytes that must move (inputs read once, outputs and gradients written once) over the bandwidth that a
copy reaches in this run; and, for the scan, two exponentials for each element of the state (forward, and made again in
backward) over the rate of the special-function units, 16 a cycle and multiprocessor; for the state space dual form, the
multiply-adds of its chunks.

Shapes: B batch, L tokens, D channels, N states, H heads.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import torch

from benchmarks import gpu_dual
from benchmarks.gpu_correctness import TOLERANCE, correctness
from benchmarks.gpu_sections import TOY, Bench, Sizes, blocks, scan, tune
from benchmarks.gpu_timing import card
from benchmarks.gpu_training import captured_step, compiled_step, sampling, training, waiting
from benchmarks.row import TITLE, Row, line

SECTIONS: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "correctness": lambda bench: chain(correctness(bench), gpu_dual.correctness(bench)),
    "tune": lambda bench: chain(tune(bench), gpu_dual.tune(bench)),
    "scan": scan,
    "ssd": gpu_dual.speed,
    "training": training,
    "waiting": waiting,
    "sampling": sampling,
    "blocks": blocks,
    "captured": captured_step,
    "compiled": compiled_step,
}
MUST_PASS = ("correctness", "waiting")


def rows(bench: Bench, names: list[str], deadline: float) -> Iterator[Row]:
    for name in names:
        try:
            for row in SECTIONS[name](bench):
                yield replace(row, section=name)
                if time.monotonic() > deadline:
                    yield Row("stopped: out of time", None, "", detail="--seconds", section=name)
                    return
        except Exception as error:
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            yield Row("FAILED", None, "", "runs", False, said, section=name)


def main(arguments: list[str] | None = None) -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--json", type=Path, help="write rows, notes and the machine to this file too")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections to run")
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, help="those that correctness checks")
    parser.add_argument("--seconds", type=float, default=540.0, help="start nothing new after so long")
    parser.add_argument("--tune", action="store_true", help="try other tiles first")
    parser.add_argument("--dry-run", action="store_true", help="say what would run")
    parser.add_argument("--toy", action="store_true", help="tiny sizes on the CPU, under Triton's interpreter")
    options = parser.parse_args(arguments)
    if options.toy:
        os.environ |= {"TRITON_INTERPRET": "1", "BAKEOFF_BACKEND": "triton"}
    names = options.only or [name for name in SECTIONS if name != "tune" or options.tune]
    sizes = TOY if options.toy else Sizes()
    if options.dtypes:
        sizes = replace(sizes, dtypes=tuple(options.dtypes))
    if options.dry_run:
        print("sections:", ", ".join(names))
        print("sizes:", json.dumps(asdict(sizes)))
        return 0
    if not options.toy and not torch.cuda.is_available():
        print("torch sees no CUDA device; --toy runs the same code on the CPU", file=sys.stderr)
        return 2
    if options.toy:
        # The interpreter takes as long for a large tile as for a small one.
        from bakeoff.ops.selective_scan import triton_launch

        triton_launch.FORWARD = triton_launch.FORWARD._replace(N_BLOCK=4)
        triton_launch.BACKWARD = triton_launch.BACKWARD._replace(N_BLOCK=4)
    bench = Bench(sizes, torch.device("cpu" if options.toy else "cuda"))
    machine = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **card(bench.device)}
    print("\n".join(f"- {key}: {value}" for key, value in machine.items()))
    print("\n" + TITLE)
    done = []
    for row in rows(bench, names, time.monotonic() + options.seconds):
        print(line(row), flush=True)
        done.append(row)
    print("\n" + "\n".join(f"- {note}" for note in bench.notes))
    if options.json:
        result = {"machine": machine, "notes": bench.notes, "rows": [asdict(row) for row in done]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    wrong = [row for row in done if row.passed is False and (row.section in MUST_PASS or row.name == "FAILED")]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
