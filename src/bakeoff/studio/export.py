"""The flow page for any static host: the same files, with every digit's way from several noises computed beforehand."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.run.directory import RunDir
from bakeoff.studio.flows import Flows
from bakeoff.studio.query import Query
from bakeoff.studio.run_info import describe
from bakeoff.studio.server import STATIC

ASSETS = ("*.js", "*.css", "*.svg")
ELSEWHERE = ("judge*", "live*")  # need a server


def export_static(
    path: Path,
    out: Path,
    noises: int,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, planned: None,
) -> Path:
    """Write index.html, run.json, static/ and data/<label>-<noise>.json into a new folder; all of it or nothing.

    Args:
        noises: seeds 0, 1, ... of the starting noise, each with every digit.
        progress: called with the number of files done and planned.

    Raises:
        BakeoffError: no run with a trained backbone, or the folder holds something already.
    """
    out = out.resolve()
    if out == Path.cwd():
        raise BakeoffError(f"{out}: is where you are; name a folder below it.")
    described: dict[str, Any] = {**describe(path), "noises": list(range(noises))}
    if not any(backbone["trained"] for backbone in described["backbones"]):
        raise BakeoffError(f"{path}: no backbone is trained yet; there is no flow to export.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BakeoffError(f"{out}: is not an empty folder; name one that is empty or does not exist yet.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise BakeoffError(f"{out}: cannot be written ({error.strerror}).") from error
    try:
        _write_pages(draft, described)
        asyncio.run(_write_flows(draft / "data", path, described, device, progress))
        draft.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return out


def _write_pages(out: Path, described: dict[str, Any]) -> None:
    page = (STATIC / "flow.html").read_text(encoding="utf-8")
    page = page.replace("<html ", "<html data-static ", 1).replace('"/static/', '"static/')
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "run.json").write_text(json.dumps(described), encoding="utf-8")
    (out / "static").mkdir()
    (out / "data").mkdir()
    for asset in _assets():
        shutil.copyfile(asset, out / "static" / asset.name)


def _assets() -> Iterator[Path]:
    for pattern in ASSETS:
        for asset in sorted(STATIC.glob(pattern)):
            if not any(asset.match(other) for other in ELSEWHERE):
                yield asset


async def _write_flows(
    data: Path, path: Path, described: dict[str, Any], device: str, progress: Callable[[int, int], None]
) -> None:
    run, flows = RunDir.open(path), Flows(device)
    trained = max(run.protocol.seeds, key=lambda seed: sum(seed in one["trained"] for one in described["backbones"]))
    wanted = [(label, noise) for label in described["labels"] or [None] for noise in described["noises"]]
    try:
        for done, (label, noise) in enumerate(wanted):
            progress(done, len(wanted))
            query = Query(label=label, noise=noise, trained=trained)
            events = [event async for event in flows.stream(run, query) if event]
            if not any(name == "frame" for name, _ in events):
                reasons = "; ".join(f"{data['backbone']}: {data['why']}" for name, data in events if name == "missing")
                raise BakeoffError(f"{path}: no backbone can be shown: {reasons}.")
            events += [event async for event in flows.strips(run, query) if event]
            name = f"{'any' if label is None else label}-{noise}.json"
            (data / name).write_text(json.dumps(events, allow_nan=False), encoding="utf-8")
        progress(len(wanted), len(wanted))
    finally:
        flows.close()
