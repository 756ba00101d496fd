"""The CPU time that a run took, and how fast the machine was in the same minute, so that figures can be compared."""

import resource
import statistics
import time

import torch

from bakeoff.trial.meters import processor_name

SIDE, ROUNDS = 768, 9  # of the fixed product: large enough for full speed, small enough for a fifth of a second


def cpu_seconds() -> float:
    """User and system time of this process and of all processes that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def product_gflops() -> float:
    """GFLOP/s of a 768 x 768 x 768 float32 product on one thread: the median of nine, by CPU time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a, b = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
        times = []
        for _ in range(ROUNDS):
            before = time.process_time()
            torch.mm(a, b)
            times.append(time.process_time() - before)
        return 2 * SIDE**3 / max(statistics.median(times), 1e-9) / 1e9
    finally:
        torch.set_num_threads(threads)


def said() -> str:
    """In one line."""
    return (
        f"CPU time of this call, all its processes: {cpu_seconds() / 60:.1f} min on {processor_name()}, on which a "
        f"{SIDE}^3 float32 product now reaches {product_gflops():.0f} GFLOP/s a core"
    )
