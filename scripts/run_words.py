"""What every page of results says of a run in the same words: its command, its machine, its sweep."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bakeoff.protocol.sweep import Swept
from bakeoff.report.gather import command
from bakeoff.rundir.directory import read_seal
from paper_runs import MACHINE, Run


def command_of(run: Run) -> str:
    """What makes such a run, without the folder, the progress, and how many cores it took."""
    said = command(run.environment) or f"bakeoff run {run.name}"
    swept_anew = run.run.protocol.to_try and "sweep.found=none" not in said  # the preset may have taken them over
    own = " --set sweep.found=none" if swept_anew else ""
    return re.sub(r" --(out|threads|jobs|progress) \S+| --(sweep-only|resume)", "", said) + own


def made(run: Run) -> str:
    """When, on what, and with how many seeds."""
    machine = ", ".join(f"{key} {value}" for key in MACHINE if (value := run.environment.get(key)))
    threads = sorted({one.threads for one in run.measured.values()})
    used = f"; threads {', '.join(map(str, threads))}" if threads else ""  # of a sweep alone, no trial is measured
    seeds = ", ".join(map(str, run.run.protocol.seeds))
    return f"Sealed {read_seal(run.run.path).created}; {machine}{used}; seeds {seeds}."


def busy(run: Run) -> str:
    """Whether step times can be believed."""
    busy = sum(any("the machine was busy" in note for note in one.notes) for one in run.measured.values())
    if not busy:
        return ""
    return (
        f"In {busy} of {len(run.measured)} trials the step time does not explain the wall-clock: other work ran beside "
        "them, so that step times, and a verdict that rests on them, are rough; accuracies do not depend on it."
    )


def swept_table(run: Run, found: Swept) -> Iterator[str]:
    whose, sweep = "in the same run", run.run.protocol.sweep
    if found.run and sweep is not None and sweep.found is not None:
        again = f"`{command_of(run)} --set sweep.found=none --sweep-only`"
        whose = f"by {again}, digest `{found.run}`"
        if sweep.found.recipe != run.run.protocol.recipe:
            whose = f"by an earlier run with another recipe, digest `{found.run}`"
    yield ""
    yield f"Held-out loss at every value of `{found.key}`, on {found.on_seeds}, {whose}; each keeps its best:"
    yield ""
    yield "| backbone | " + " | ".join(f"{value:g}" for value in found.values) + " | kept |"
    yield "|---|" + "---|" * (len(found.values) + 1)
    for name, one in found.choices.items():
        losses = (loss if isinstance(loss, str) else f"{loss:.4f}" for loss in one.losses)
        yield f"| {name} | {' | '.join(losses)} | {one.value:g} |"
    for warning in found.warnings():
        yield from ("", f"- {warning}")


def tries(pilots: Sequence[dict[str, Any]]) -> str:
    """How many pilots each backbone had."""
    counted = Counter(one["backbone"] for one in pilots)
    return f"Tries: {', '.join(f'{name} {count}' for name, count in counted.items())}."


def told(values: Mapping[str, float], name: str, how: str, unit: str = "") -> str:
    """A figure or cost, or that it was not measured: of a run that is not finished, or of trials that all diverged."""
    return f"{values[name]:{how}}{unit}" if name in values else "not measured"


def images_table(run: Run) -> Iterator[str]:
    """How every backbone's images came out, and what they cost."""
    yield "Means over the seeds; for the loss the 95 % interval over them."
    yield ""
    yield "| backbone | rate | seeds that pass | recognised | classes | Frechet distance | loss | step time |"
    yield "|---|---|---|---|---|---|---|---|"
    for backbone in run.run.protocol.backbones:
        result, rate = run.shown.backbones[backbone.name], run.run.protocol.of(backbone).training.lr
        interval = result.intervals.get("loss")
        cells = (
            backbone.name,
            f"{rate:g}",
            f"{result.seeds_passed} of {len(result.seeds)}",
            *(told(result.figures, figure, ".4g") for figure in ("recognised", "classes", "frechet")),
            told(result.figures, "loss", ".4f") + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""),
            told(result.costs, "step_time_ms", ".1f", " ms"),
        )
        yield "| " + " | ".join(cells) + " |"
