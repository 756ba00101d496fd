"""The studio's speed and stamina, over HTTP as a page asks: `python -m benchmarks.studio RUN [--seconds 30]`.

On a warm server: time to the first frame and of a whole flow of ten steps under all backbones, medians of ten with new
noise each. Then 20 clients at once, each asking for flow after flow: what they got, how long they waited, and the
server's memory before, at half time and at the end.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.request import urlopen

from benchmarks.row import TITLE, Row, line

CLIENTS, STEPS, REPEATS, MIB = 20, 10, 10, 1 << 20
FIRST_FRAME_MS, FLOW_MS = 300, 1500


class Flow(NamedTuple):
    """Milliseconds to the first frame and to the end; frames that came."""

    first_ms: float
    whole_ms: float
    frames: int


class Load(NamedTuple):
    """Flows that came whole; what went wrong, in words; the server's MiB before, at half time and at the end."""

    flows: list[Flow]
    errors: list[str]
    memory_mib: tuple[float, float, float]


@contextmanager
def serving(run: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of a studio."""
    command = [sys.executable, "-m", "bakeoff", "studio", str(run), "--port", "0", "--no-open"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() if process.stdout else ""
        address = re.search(r"http://\S+", said)
        if address is None:
            raise SystemExit(f"the studio did not start: {said}")
        yield address[0], process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def one_flow(address: str, noise: int, steps: int = STEPS) -> Flow:
    started, first, frames = time.perf_counter(), None, 0
    with urlopen(f"{address}api/flow?noise={noise}&steps={steps}", timeout=120) as answer:
        for line in answer:
            if line == b"event: frame\n":
                frames += 1
                first = first or time.perf_counter()
            elif line == b"event: error\n":
                raise RuntimeError(next(answer).decode())
    if first is None:
        raise RuntimeError("no frame came")
    return Flow(1000 * (first - started), 1000 * (time.perf_counter() - started), frames)


def under_load(address: str, pid: int, seconds: float, clients: int = CLIENTS) -> Load:
    """Every client asks again as soon as it has its answer."""
    flows: list[Flow] = []
    errors: list[str] = []
    numbers, end = count(1000), time.monotonic() + seconds

    def client() -> None:
        while time.monotonic() < end:
            try:
                flows.append(one_flow(address, next(numbers)))
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    before = memory_mib(pid)
    with ThreadPoolExecutor(clients) as many:
        asking = [many.submit(client) for _ in range(clients)]
        time.sleep(seconds / 2)
        half = memory_mib(pid)
        for one in asking:
            one.result()
    return Load(flows, errors, (before, half, memory_mib(pid)))


def memory_mib(pid: int) -> float:
    """Resident, in MiB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / MIB


def rows(run: Path, seconds: float) -> Iterator[Row]:
    with serving(run) as (address, pid):
        one_flow(address, 0)
        backbones = len(json.load(urlopen(f"{address}api/run"))["backbones"])
        flows = [one_flow(address, noise) for noise in range(1, REPEATS + 1)]
        first, whole = median(flow.first_ms for flow in flows), median(flow.whole_ms for flow in flows)
        yield Row("first frame", first, "ms", f"{FIRST_FRAME_MS} ms", first <= FIRST_FRAME_MS)
        yield Row(f"{backbones} backbones x {STEPS} steps", whole, "ms", f"{FLOW_MS} ms", whole <= FLOW_MS)
        load = under_load(address, pid, seconds)
        many = f"{CLIENTS} clients, {seconds:g} s"
        yield Row(
            f"{many}: errors", len(load.errors), "", "0", not load.errors, "; ".join(sorted(set(load.errors)))[:200]
        )
        yield Row(f"{many}: frames a second", sum(flow.frames for flow in load.flows) / seconds, "1/s")
        yield Row(f"{many}: a whole flow", median(flow.whole_ms for flow in load.flows), "ms", detail="median")
        before, half, after = load.memory_mib
        yield Row(f"{many}: memory", after, "MiB", detail=f"before {before:.0f}, at half time {half:.0f}")


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("run", type=Path, help="a run directory with trained backbones")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the load")
    options = parser.parse_args()
    print(TITLE)
    missed = 0
    for row in rows(options.run, options.seconds):
        print(line(row), flush=True)
        missed += row.passed is False
    return missed and 1


if __name__ == "__main__":
    sys.exit(main())
