"""Meters: time, memory, quantiles, the trend of a loss curve, and a description of the machine."""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from bakeoff import __version__
from bakeoff.protocol.measurement import Memory, Spread
from bakeoff.trial import surroundings


class Stopwatch:
    """Wall-clock seconds by activity, so that a trial can account for all of its time."""

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds: dict[str, float] = dict(seconds or {})

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(activity, time.perf_counter() - started)

    def add(self, activity: str, seconds: float) -> None:
        self.seconds[activity] = self.seconds.get(activity, 0.0) + seconds


class StepClock:
    """Milliseconds of single steps: by CUDA events on a GPU, so that the step never waits; by a clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"
        self._open: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._milliseconds: list[float] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self.cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            stream = torch.cuda.current_stream(self.device)
            start.record(stream)
            yield
            end.record(stream)
            self._open.append((start, end))
        else:
            started = time.perf_counter()
            yield
            self._milliseconds.append(1000 * (time.perf_counter() - started))

    def drain(self) -> list[float]:
        """Times since the last call; waits for the device."""
        for start, end in self._open:
            end.synchronize()
            self._milliseconds.append(start.elapsed_time(end))
        times, self._milliseconds, self._open = self._milliseconds, [], []
        return times


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    p10, median, p90 = np.percentile(values, [10, 50, 90])
    return Spread(median=float(median), p10=float(p10), p90=float(p90), count=len(values))


def peak_memory(device: torch.device) -> Memory:
    """Highest use over this process's life: VmHWM on Linux, ru_maxrss elsewhere; CUDA's own counters too."""
    cuda = device.type == "cuda"
    return Memory(
        process_mib=_process_peak_kib() / 1024,
        cuda_allocated_mib=torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None,
        cuda_reserved_mib=torch.cuda.max_memory_reserved(device) / 2**20 if cuda else None,
    )


def _process_peak_kib() -> float:
    try:  # unlike ru_maxrss, VmHWM starts anew at exec and does not include the parent's peak
        status = Path("/proc/self/status").read_text()
        return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1024 if sys.platform == "darwin" else peak


def trend(losses: Sequence[float], steps_per_epoch: int) -> tuple[float, float] | None:
    """Least-squares slope of a loss curve and its standard error, per epoch; None for under ten steps."""
    count = len(losses)
    if count < 10:
        return None
    x = (np.arange(count) - (count - 1) / 2) / steps_per_epoch
    y = np.asarray(losses, np.float64)
    slope = float(x @ (y - y.mean()) / (x @ x))
    residual = y - y.mean() - slope * x
    return slope, float(np.sqrt(residual @ residual / (count - 2) / (x @ x)))


def environment(device: torch.device) -> dict:
    """What a reader needs to know about the machine; recorded once a run."""
    cuda = device.type == "cuda"
    return {
        "bakeoff": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": _version("numpy"),
        "triton": _version("triton"),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "settings": surroundings.settings(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "cuda": torch.version.cuda if cuda else None,
    }


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
