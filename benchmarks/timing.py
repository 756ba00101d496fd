"""Timing of rival functions in one run: interleaved, CPU time of this thread, medians; and peak memory."""

import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Work = Callable[[], object]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Has malloc keep what is freed, for all rivals alike.

    Otherwise it returns large blocks to the system, at its whim, and a step that allocates 20 MB spends
    milliseconds on page faults. Does nothing where the C library has no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**30)
        mallopt(M_MMAP_THRESHOLD, 2**25)


def medians_ms(
    rivals: Mapping[str, Work], rounds: int, clock: Callable[[], float] = time.thread_time
) -> dict[str, float]:
    """Median milliseconds of each rival; every round runs each once, after one round that does not count.

    CPU time leaves out what other processes take; with more than one thread pass a wall clock.
    """
    samples: dict[str, list[float]] = {name: [] for name in rivals}
    for round_ in range(rounds + 1):
        for name, work in rivals.items():
            start = clock()
            work()
            elapsed = clock() - start
            if round_:
                samples[name].append(1e3 * elapsed)
    return {name: statistics.median(values) for name, values in samples.items()}


def peak_extra_mb(statement: str) -> float:
    """Megabytes by which `work()` raises the peak memory of a fresh process; `statement` defines it.

    VmHWM and not ru_maxrss, which a child inherits from its parent.
    """
    program = f"""
import re
def status(field):
    return int(re.search(field + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
{statement}
before = status("VmRSS")
work()
print(status("VmHWM") - before)
"""
    if not Path("/proc/self/status").exists():
        return float("nan")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
