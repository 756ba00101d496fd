"""The command of a benchmark: runs its sections on one thread and prints their rows as they come."""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from bakeoff.ops import backends
from benchmarks.row import TITLE, Row, line
from benchmarks.timing import keep_freed_memory


def print_table(description: str, sections: Iterable[Callable[[int], Iterable[Row]]]) -> None:
    """`sections` yield rows, given the rounds of a comparison."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=as_written)
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    parser.add_argument("--rounds", type=int, default=7, help="rounds per comparison; medians are of these")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    print("; ".join(f"{b.name}: {b.detail}" for b in backends()))
    print("\n" + TITLE)
    done = []
    for section in sections:
        for row in section(options.rounds):
            print(line(row), flush=True)
            done.append(asdict(row))
    if options.json:
        options.json.write_text(json.dumps(done, indent=2) + "\n")
