"""The study's table of a verdict: criterion x backbone, in words."""

from collections.abc import Mapping

from bakeoff.protocol.verdict import Result, Verdict, figure


def criteria_table(verdict: Verdict) -> dict[str, dict[str, str]]:
    """The study's table, criterion x backbone, in words."""
    results = verdict.backbones
    return {
        "Quality bar": {name: _bar(result) for name, result in results.items()},
        "Loss": _ranked({name: result.loss for name, result in results.items()}, "best", "worst"),
        "Loss over floor": {name: _over_floor(result.loss, verdict.loss_floor) for name, result in results.items()},
        "Speed": _ranked({name: result.step_time_ms for name, result in results.items()}, "fastest", "slowest"),
        "Memory": _ranked({name: result.peak_memory_mb for name, result in results.items()}, "lowest", "highest"),
        "Loss, interval": {name: _interval(result.loss_interval) for name, result in results.items()},
        "Decision": {name: f"{result.outcome}: {result.reason}" for name, result in results.items()},
    }


def _bar(result: Result) -> str:
    waiting = sum(seed.waits_for is not None for seed in result.seeds)
    waits = f", {waiting} {'waits' if waiting == 1 else 'wait'} for votes" if waiting else ""
    return f"{result.seeds_passed} of {len(result.seeds)} seeds pass{waits}"


def _over_floor(loss: float | None, floor: float | None) -> str:
    """Times the loss of a perfect memoriser of the training set."""
    return f"{figure(loss / floor)} times {figure(floor)}" if loss is not None and floor else "not measured"


def _interval(ends: tuple[float, float] | None) -> str:
    return "one seed" if ends is None else f"{figure(ends[0])} to {figure(ends[1])}"


def _ranked(values: Mapping[str, float | None], first: str, last: str) -> dict[str, str]:
    known = [value for value in values.values() if value is not None]
    words = {}
    for name, value in values.items():
        if value is None:
            words[name] = "not measured"
        elif len(known) > 1 and value == min(known):
            words[name] = f"{figure(value)} ({first})"
        elif len(known) > 1 and value == max(known):
            words[name] = f"{figure(value)} ({last})"
        else:
            words[name] = figure(value)
    return words
