"""The flow page for any static host: the page's own files, and every recorded flow as a file."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from bakeoff.artefacts.base import Items, read_path
from bakeoff.errors import BakeoffError
from bakeoff.rundir.directory import RunDir
from bakeoff.studio.flows import Event
from bakeoff.studio.query import query_of
from bakeoff.studio.run_info import run_info
from bakeoff.studio.server import STATIC
from bakeoff.tasks import build_task
from bakeoff.trial.path import PATH_ITEMS

ASSETS = ("*.js", "*.css", "*.svg")
NEED_A_SERVER = ("judge*", "live*")
NOISES = (0, 1)  # of those that a trial's path holds
NOTE = (
    f"Recorded: {len(NOISES)} noises, and the protocol's own steps, solver and guidance. "
    "The live studio plays with all of them."
)


def export_static(path: Path, out: Path, progress: Callable[[int, int], None] = lambda done, planned: None) -> Path:
    """Write index.html, run.json, static/ and data/<label>-<noise>.json into a new folder; all of it or nothing.

    Args:
        progress: called with the number of files done and planned.

    Raises:
        BakeoffError: no run with a trained backbone, or the folder holds something already.
    """
    out = out.resolve()
    if out == Path.cwd():
        raise BakeoffError(f"{out}: is the current folder; name a folder below it.")
    info = {**run_info(path), "note": NOTE}
    if not any(backbone["trained"] for backbone in info["backbones"]):
        raise BakeoffError(f"{path}: no backbone is trained yet; there is no flow to export.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BakeoffError(f"{out}: is not an empty folder; name one that is empty or does not exist yet.")
    info["controls"] = list(_recorded_controls(info["controls"]))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise BakeoffError(f"{out}: cannot be written ({error.strerror}).") from error
    try:
        write_pages(draft, info)
        _write_flows(draft / "data", RunDir.open(path), info["controls"], progress)
        draft.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return out


def recorded(run: RunDir, label: int | None, noise: int) -> list[Event]:
    """The events of one flow, and of its strips, from the files of the trials: what a server would send, without times.

    The path of a trial holds every label once a noise; its strip is the first of its samples with that label.

    Raises:
        BakeoffError: no backbone has anything to show.
    """
    query = query_of(run)
    found: dict[str, list[Items]] = {}
    missing: dict[str, str] = {}
    for backbone in run.protocol.backbones:
        try:
            found[backbone.name] = read_path(run.trial(backbone.name, query.trained).states, run.kind, PATH_ITEMS)
        except BakeoffError as error:
            missing[backbone.name] = str(error).replace(f"{run.path}/", "")
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise BakeoffError(f"{run.path}: no backbone can be shown: {reasons}.")
    place = noise if label is None else noise * build_task(run.protocol).space.classes + label
    steps = max(len(states) for states in found.values()) - 1
    events: list[Event] = [("start", {"backbones": list(found), "steps": steps})]
    events += [("missing", {"backbone": name, "why": why}) for name, why in missing.items()]
    for step in range(steps + 1):
        for name, states in found.items():
            cell = run.kind.cell(states[min(step, len(states) - 1)], place)
            events.append(("frame", {"backbone": name, "step": step, "cell": cell}))
    costs = {name: {"nfe": run.trial(name, query.trained).measurement().nfe, "ms": None} for name in found}
    events += [("done", {"backbone": name, **costs[name]}) for name in found]
    events.append(("end", {}))
    for name in found:
        cells = _strip(run, run.trial(name, query.trained).items(), label)
        events.append(("strip", {"backbone": name, "cells": cells, **costs[name]}))
    return [*events, ("end", {})]


def _strip(run: RunDir, samples: Items, label: int | None) -> list[dict[str, Any]]:
    """The first samples; of one label where it is asked for and the samples say theirs."""
    chosen = range(len(samples))
    if label is not None and "labels" in samples:
        chosen = [i for i in chosen if samples["labels"][i] == label]
    return [run.kind.cell(samples, i) for i in chosen[: run.kind.many]]


def _recorded_controls(controls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A recording has a choice of label and noise; the other controls show what it was made with."""
    for control in controls:
        if control["key"] == "noise":
            yield {**control, "values": list(NOISES)}
        elif control["key"] == "label":
            yield control
        elif control["key"] != "trained":
            yield {**control, "disabled": True}


def write_pages(out: Path, info: dict[str, Any]) -> None:
    """index.html, run.json and static/, and an empty data/, into an empty folder."""
    page = (STATIC / "flow.html").read_text(encoding="utf-8")
    page = page.replace("<html ", "<html data-static ", 1).replace('"/static/', '"static/')
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "run.json").write_text(json.dumps(info), encoding="utf-8")
    (out / "static").mkdir()
    (out / "data").mkdir()
    for asset in _assets():
        shutil.copyfile(asset, out / "static" / asset.name)


def _assets() -> Iterator[Path]:
    for pattern in ASSETS:
        for asset in sorted(STATIC.glob(pattern)):
            if not any(asset.match(other) for other in NEED_A_SERVER):
                yield asset


def _write_flows(data: Path, run: RunDir, controls: list[dict[str, Any]], progress: Callable[[int, int], None]) -> None:
    labels = next((control["values"] for control in controls if control["key"] == "label"), [None])
    wanted = [(label, noise) for label in labels for noise in NOISES]
    for done, (label, noise) in enumerate(wanted):
        progress(done, len(wanted))
        name = f"{'any' if label is None else label}-{noise}.json"
        (data / name).write_text(json.dumps(recorded(run, label, noise), allow_nan=False), encoding="utf-8")
    progress(len(wanted), len(wanted))
