"""Timing on a GPU: rivals in turn, CUDA events, medians; what the card can reach; and what card it is."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

import torch

Work = Callable[[], object]
ROUNDS, FEWEST, WARM_UP = 30, 5, 2


def _once_ms(work: Work, device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        return 1e3 * (time.perf_counter() - started)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def medians_ms(rivals: Mapping[str, Work], device: torch.device, seconds: float = 3.0) -> dict[str, float]:
    """Median milliseconds of each; every round runs each once. On the CPU one round, for show.

    Args:
        seconds: after so long, the rounds end when five are done.
    """
    rounds, warm_up = (ROUNDS, WARM_UP) if device.type == "cuda" else (1, 0)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    started = time.monotonic()
    for done in range(-warm_up, rounds):
        if done >= FEWEST and time.monotonic() - started > seconds:
            break
        for name, work in rivals.items():
            taken = _once_ms(work, device)
            if done >= 0:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def captured(work: Work) -> Work:
    """The replay of a CUDA graph of all that `work` launches; kernels are compiled and chosen before it is captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work()

    def replay() -> object:
        graph.replay()
        return kept

    return replay


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a copy of a gigabyte."""
    x = torch.ones(2**28 if device.type == "cuda" else 2**16, device=device)
    y = torch.empty_like(x)
    return 2 * x.numel() * x.element_size() / (1e-3 * medians_ms({"copy": lambda: y.copy_(x)}, device)["copy"])


def exponentials_per_s(device: torch.device) -> float:
    """16 a cycle and multiprocessor [CUDA C++ Programming Guide, arithmetic throughput], at the top clock."""
    if device.type != "cuda":
        return 1e9
    return 16 * torch.cuda.get_device_properties(device).multi_processor_count * 1e6 * float(_query("clocks.max.sm"))


def peak_mib(work: Work, device: torch.device) -> float:
    """Device memory that one call takes above what is held before it."""
    if device.type != "cuda":
        return 0.0
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def _query(what: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()


def card(device: torch.device) -> dict[str, str]:
    """The device, its driver, and the versions that matter."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("triton", "mamba-ssm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if device.type != "cuda":
        return {"device": "cpu", **found}
    name = torch.cuda.get_device_name(device)
    return {"device": name, "driver": _query("driver_version"), "cuda": str(torch.version.cuda), **found}
