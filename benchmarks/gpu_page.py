"""Write docs/results/gpu.md from what `python -m benchmarks.gpu --json FILE` wrote, in one call or in several.

    python -m benchmarks.gpu_page gpu.json [more.json ...] [--out docs/results]

Files of the same card and driver make one table; a section that is in several is taken from the last that finished it,
but correctness, which may be checked by dtype, from all. Beside the page: gpu.json with every row.
"""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.rundir.files import read_json, write_atomic
from benchmarks.row import TITLE, Row, line

ROOT = Path(__file__).parents[1]
SAME = ("device", "driver", "cuda", "torch", "triton")
STOPPED = "stopped: out of time"
WHAT = {
    "correctness": "Right? Every Triton kernel against the float64 loop, outputs and gradients: relative errors",
    "tune": "Tiles at the first sizes: the scan's (N_BLOCK, D_BLOCK, T, warps), the others' (P_BLOCK, N_BLOCK, warps)",
    "scan": "The scan, beside its floors and mamba-ssm's CUDA kernel on the same inputs",
    "ssd": "The state space dual form, beside its floors and mamba-ssm's Triton Mamba-2 on the same inputs",
    "training": "A whole training step of the study",
    "waiting": "Does the host wait for the card within a step?",
    "sampling": "The sampler of the study",
    "blocks": "Mamba's block beside attention's, at constant tokens",
    "captured": "What a training step as one CUDA graph would be worth",
    "compiled": "What torch.compile would be worth",
}


def merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of them all.

    Raises:
        BakeoffError: they are of different cards, drivers or versions.
    """
    first = results[0]["machine"]
    for result in results[1:]:
        if unlike := [key for key in SAME if result["machine"].get(key) != first.get(key)]:
            raise BakeoffError(f"the files differ in {', '.join(unlike)}: a page is of one card and its software.")
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in result["rows"]:
            found.setdefault(row["section"], []).append(row)
        for section, new in found.items():
            if section == "correctness":
                rows[section] = [*rows.get(section, []), *(row for row in new if row not in rows.get(section, []))]
            elif section not in rows or new[-1]["name"] != STOPPED:
                rows[section] = new
    machine = {key: value for result in reversed(results) for key, value in result["machine"].items()}
    for result in results:
        machine |= {key: value for key, value in result["machine"].items() if value != "not installed"}
    machine["date"] = min(result["machine"]["date"] for result in results)
    notes = [note for result in results for note in result["notes"]]
    ordered = [row for section in WHAT for row in rows.get(section, [])]
    return {"machine": machine, "notes": list(dict.fromkeys(notes)), "rows": ordered}


def page(result: dict[str, Any]) -> str:
    rows = [Row(**row) for row in result["rows"]]
    missed = [row for row in rows if row.passed is False]
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    barred = sum(row.passed is not None for row in rows)
    parts = [
        "# On a GPU: what was measured",
        "",
        "Written by `python -m benchmarks.gpu_page` from what `python -m benchmarks.gpu --tune --json gpu.json` wrote; "
        "the rows are in [gpu.json](gpu.json). How to make it again: [on a GPU](../gpu.md).",
        "",
        f"Machine: {machine}.",
        "",
        f"Of {barred} rows with a bar, {barred - len(missed)} reach it"
        + (f"; missed: {len(missed)}, {_where(missed)}." if missed else "."),
        "",
        *(f"- {note}" for note in result["notes"]),
    ]
    for section, title in WHAT.items():
        if of_it := [row for row in rows if row.section == section]:
            shown = worst(of_it) if section == "correctness" else of_it
            parts += ["", f"## {title}", "", TITLE, *(line(replace(row, section="")) for row in shown)]
        else:
            parts += ["", f"## {title}", "", f"Not measured: `python -m benchmarks.gpu --only {section}`."]
    return "\n".join(parts) + "\n"


def worst(rows: list[Row]) -> list[Row]:
    """Of the cases of each operation and dtype the worst, and how many there are."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        if row.value is not None:
            cases.setdefault(" ".join(row.name.split()[:2]), []).append(row)
    return [
        replace(
            max(of_it, key=lambda row: math.inf if row.passed is False else row.value or 0.0),
            name=f"{operation}, the worst of {len(of_it)} cases",
            passed=all(row.passed for row in of_it),
        )
        for operation, of_it in cases.items()
    ]


def read(path: Path) -> dict[str, Any]:
    """What `python -m benchmarks.gpu --json` wrote.

    Raises:
        BakeoffError: it is something else.
    """
    found = read_json(path)
    try:
        whole = all(found["machine"][key] for key in (*SAME, "date"))
        rows = [Row(**row) for row in found["rows"]]
        if whole and isinstance(found["notes"], list) and all(row.section in WHAT for row in rows):
            return found
    except (KeyError, TypeError):
        pass
    raise BakeoffError(f"{path}: not what `python -m benchmarks.gpu --json` writes on a card.")


def _where(rows: list[Row]) -> str:
    sections = {section: sum(row.section == section for row in rows) for section in WHAT}
    return ", ".join(f"{count} in `{section}`" for section, count in sections.items() if count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="the benchmark's JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        result = merged([read(path) for path in options.files])
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomic(options.out / "gpu.json", (json.dumps(result, indent=1) + "\n").encode())
        write_atomic(options.out / "gpu.md", page(result).encode())
    except (BakeoffError, OSError) as error:
        print(f"gpu_page: {error}", file=sys.stderr)
        return 2
    print(options.out / "gpu.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
