"""Reads all that the report shows from a run directory into plain values; decides nothing."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from bakeoff.artefacts.base import Items, read_path
from bakeoff.artefacts.sheets import data_uri
from bakeoff.errors import BakeoffError
from bakeoff.judging.tally import judgements
from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.protocol.calls import Reading, read_calls
from bakeoff.protocol.control import void
from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.probes import ProbeRecord
from bakeoff.protocol.scaling import quality_scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.sections.sweep import Sweep
from bakeoff.protocol.verdict import Verdict, headline
from bakeoff.report.figures import Bar, Point, finite
from bakeoff.rundir.directory import RunDir, read_seal
from bakeoff.rundir.files import read_json
from bakeoff.rundir.metrics_log import read_losses
from bakeoff.rundir.sealed import measurements
from bakeoff.rundir.verify import verify
from bakeoff.tasks import build_task
from bakeoff.trial.path import PATH_ITEMS

FRAMES_OF = 10  # samples per backbone in the scrubber
FRAME, WIDEST = 56, 240  # CSS pixels that one is wide, at least and at most


def gather(path: Path) -> dict[str, Any]:
    """Everything the templates and figures read.

    Raises:
        BakeoffError: no run directory, or one whose protocol or measurements cannot be read.
    """
    run, verdict = sealed_verdict(path)
    shown = verdict.so_far if verdict.outcome in ("deviated", "incomplete") and verdict.so_far else verdict
    measured = {f"{one.backbone}-s{one.seed}": one for one in measurements(run)}
    return {
        "run": run,
        "protocol": run.protocol,
        "title": f"{run.protocol.name}: {headline(verdict)}",
        "headline": headline(verdict),
        "verdict": verdict,
        "shown": shown,
        "sweep": shown.sweep,
        "verification": verify(path),
        "seal": (seal := _seal(path)),
        "lint": _records(seal.plan.get("lint") if seal else None, "check", "level", "message"),
        "measured": measured,
        "behind": _behind(measured),
        "main": [_row(name.name, run, measured, shown) for name in run.protocol.backbones],
        "figures": run.figures,
        "scale": quality_scale(run.protocol.rule, run.figures[run.protocol.rule.quality]),
        "curves": {name.name: _losses(run, name.name) for name in run.protocol.backbones},
        "points": _points(shown, run.protocol.rule),
        "bars": _bars(run.probe("step_time")),
        "calls": _calls(run),
        "grids": _grids(run),
        "scrubber": _scrubber(run),
        "words": _words(run),
        "calibration": _calibration(run),
        "people": _people(run),
        "environment": (environment := read_json(run.environment) if run.environment.is_file() else {}),
        "resumed_on": _records(environment.get("resumed_on")),
        "limitations": _limitations(run, measured, shown),
        "files": _files(path),
    }


def _seal(path: Path) -> Any:
    try:
        return read_seal(path)
    except BakeoffError:
        return None


def _records(value: Any, *keys: str) -> list[dict[str, Any]]:
    """A list of the objects that have these keys; anything else, as in a stranger's file, is left out."""
    return [one for one in value if isinstance(one, dict) and one.keys() >= {*keys}] if isinstance(value, list) else []


def _row(name: str, run: RunDir, measured: Mapping[str, Measurement], verdict: Verdict) -> dict[str, Any]:
    """One backbone's row of the main table: means over the finished seeds."""
    floor, result = verdict.loss_floor, verdict.backbones[name]
    seeds = [measured[trial] for seed in run.protocol.seeds if (trial := f"{name}-s{seed}") in measured]
    return {
        "name": name,
        "outcome": result.outcome,
        "reason": result.reason,
        "passed": f"{result.seeds_passed} of {len(result.seeds)}",
        "figures": result.figures,
        "intervals": result.intervals,
        "over_floor": result.loss / floor if result.loss is not None and floor else None,
        "params": seeds[0].params if seeds else None,
        "costs": result.costs,
    }


def _behind(measured: Mapping[str, Measurement]) -> dict[str, Any]:
    """What stands behind the figures, if it is a table: columns, and a row for each trial at each of its places."""
    details = {name: one.quality.detail for name, one in measured.items() if one.quality is not None}
    columns = list(next(iter(details.values()), {}))
    rows = [
        [name, *row]
        for name, detail in details.items()
        if list(detail) == columns and len({len(column) for column in detail.values()}) == 1
        for row in zip(*detail.values(), strict=True)
    ]
    return {"columns": columns, "rows": rows} if len(columns) > 1 else {"columns": [], "rows": []}


def _losses(run: RunDir, backbone: str) -> list[list[float]]:
    """The loss of every step of every seed, as far as the log can be read."""
    return [finite(read_losses(run.trial(backbone, seed).metrics)) for seed in run.protocol.seeds]


def _points(verdict: Verdict, rule: Rule) -> dict[str, Point]:
    """The points of quality against cost; the rule names both figures."""
    points = {}
    for name, one in verdict.backbones.items():
        value, cost = one.figures.get(rule.quality), one.costs.get(rule.cost)
        if value is not None and cost is not None:
            values = [seed.figures[rule.quality] for seed in one.seeds if rule.quality in seed.figures]
            points[name] = Point(cost, value, min(values), max(values), one.outcome != "eliminated")
    return points


def _bars(probe: ProbeRecord | None) -> dict[str, Bar]:
    candidates = {} if probe is None else probe.points[0].candidates
    spreads = {name: figures["step_time_ms"] for name, figures in candidates.items() if "step_time_ms" in figures}
    return {name: Bar(one.median, one.p10, one.p90) for name, one in spreads.items()}


def _calls(run: RunDir) -> Reading | None:
    record, rule, bar = run.calls(), run.protocol.rule, run.protocol.bar
    return None if record is None else read_calls(record, run.probe("solve_time"), rule, bar, run.figures)


def _calibration(run: RunDir) -> dict[str, Any]:
    """Kind of items -> figure -> spread, for sets of the judged size."""
    calibration = build_task(run.protocol).calibration()
    return {} if calibration is None else calibration.samples.get(run.protocol.bar.samples, {})


def _grids(run: RunDir) -> dict[str, str]:
    """The first seed's grid of every backbone, as data URIs; equal places have equal starts."""
    grids = {}
    for backbone in run.protocol.backbones:
        path = run.trial(backbone.name, run.protocol.seeds[0]).grid
        if path.is_file():
            with Image.open(path) as picture:  # encoded again, so that only pixels are passed on
                grids[backbone.name] = data_uri(picture.convert("L" if picture.mode == "L" else "RGB"))
    return grids


def _scrubber(run: RunDir) -> dict[str, Any]:
    """Every backbone's path from the same starts: one sheet each, with a row per item and a column per step."""
    paths = {
        backbone.name: [state.take(0, FRAMES_OF) for state in read_path(path, run.kind, PATH_ITEMS)]
        for backbone in run.protocol.backbones
        if (path := run.trial(backbone.name, run.protocol.seeds[0]).states).is_file()
    }
    steps = max(map(len, paths.values()), default=1)
    sheets, shape = {}, (FRAME, FRAME)
    for name, states in paths.items():
        states += states[-1:] * (steps - len(states))  # a backbone of fewer steps stays as it ended
        by_item = [state.take(i, 1) for i in range(FRAMES_OF) for state in states]
        sheet = run.kind.tiles(Items.concatenate(by_item), steps)
        width, height = sheet.width / steps, sheet.height / FRAMES_OF
        shape = (shown := max(FRAME, min(width, WIDEST)), shown * height / width)
        sheets[name] = data_uri(sheet)
    return {"sheets": sheets, "steps": steps - 1, "count": FRAMES_OF, "width": shape[0], "height": shape[1]}


def _words(run: RunDir) -> dict[str, Any]:
    """What samples at equal places have in common, and whether a label is part of it."""
    task = build_task(run.protocol)
    return {"start": task.item if task.varied else "noise", "labelled": bool(task.space.classes)}


def _people(run: RunDir) -> dict[str, Any]:
    """People's votes, and how far they agree with the judge; for an unreadable record, why it cannot be read."""
    try:
        found = judgements(run)
    except BakeoffError as error:
        return {"votes": 0, "notes": [str(error)]}
    return {
        "votes": len(found.votes),
        "who": found.people,
        "sessions": found.sessions,
        "backbones": found.backbones,
        "agreement": found.agreement,
        "notes": found.notes,
    }


def _limitations(run: RunDir, measured: Mapping[str, Measurement], shown: Verdict) -> list[str]:
    """What a reader should not conclude from this run."""
    protocol, seeds = run.protocol, len(run.protocol.seeds)
    quality = f"Quality is what frozen figures say of {protocol.bar.samples} samples a seed."
    if protocol.bar.measure == "human":
        quality = "Quality is what the people who judged saw in a few sets of samples a seed."
    items = "" if protocol.task.items is None else f", {protocol.task.items:,} items"
    found = [
        f"One data set ({protocol.task.kind}{items}), one size ({protocol.budget.params:,} parameters), one recipe for "
        f"all, {_tuned(protocol.sweep)}.",
        quality,
        "Speed and memory are those of the machine named below.",
    ]
    if why := void(protocol, shown):
        found.append(f"{why} Failures beside it show nothing.")
    if shown.indicative:
        found.append(f"{seeds} {'seed' if seeds == 1 else 'seeds'}, point evidence: the verdict is indicative only.")
    moving = [name for name, one in measured.items() if one.still_moving]
    if moving:
        found.append(f"The loss was still falling at the end in {', '.join(moving)}: longer training may change it.")
    diverged = [name for name, one in measured.items() if one.status == "diverged"]
    if diverged:
        found.append(f"Diverged, and counted as failures: {', '.join(diverged)}.")
    return found + [f"{name}: {note}" for name, one in measured.items() for note in one.notes]


def _tuned(sweep: Sweep | None) -> str:
    if sweep is None:
        return "not tuned for any of them"
    return f"of which each chose {sweep.key} from {len(sweep.values)} values; the rest is not tuned for any of them"


def _files(path: Path) -> list[str]:
    return sorted(
        child.relative_to(path).as_posix()
        for child in path.rglob("*")
        if child.is_file() and not child.name.startswith(".") and "report" not in child.relative_to(path).parts[:1]
    )


def command(environment: Mapping[str, Any]) -> str:
    """The one command that made the run."""
    parts = environment.get("command")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or not parts:
        return ""
    return shlex.join(["bakeoff", *(part for part in parts[1:] if part != "--resume")])
