"""Checks that a run is as recorded: every file against the ledger, and the ledger against itself."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from bakeoff.errors import BakeoffError
from bakeoff.protocol.formats import upgrade
from bakeoff.protocol.probes import PROBES
from bakeoff.rundir.ledger import (
    FIRST,
    JUDGEMENTS,
    MADE_AGAIN,
    NAME,
    TRIALS,
    Ledger,
    file_digest,
    problem_of,
    read_ledger,
    sealed_files,
)

PARTS = {  # of a complete run, besides its trials; a run of format 1 has a speed pass in place of the probes
    **{name.replace("_", " "): (f"probes/{name}.json", "speed.json") for name in PROBES},
    "loss floor": ("floor.json",),
    "verdict": ("verdict.json",),
}


@dataclass
class Verification:
    """What `bakeoff verify` found.

    Attributes:
        digest: the last hash of the ledger.
        changed: files of the sealed part that differ from the record, each with what is wrong.
        missing: parts of the plan that do not exist yet.
        notes: what a reader should know but is not a change.
    """

    digest: str | None
    changed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0

    @property
    def outcome(self) -> str:
        return "changed" if self.changed else "incomplete" if self.missing else "whole"


def verify(run: Path, digest: str | None = None) -> Verification:
    """Checks every file of the sealed part against the ledger, and the ledger against itself.

    Args:
        digest: the last hash, as the user kept it elsewhere.

    Raises:
        BakeoffError: no such folder, or no run in it.
    """
    if not run.is_dir():
        raise BakeoffError(f"{run}: no such run directory.")
    if not any((run / name).exists() for name in (NAME, "seal.json", "protocol.toml")):
        raise BakeoffError(f"{run}: not a run directory: it holds neither {NAME} nor seal.json.")
    ledger = read_ledger(run)
    found = Verification(ledger.digest, files=len(ledger.files))
    if ledger.damage is not None:
        found.changed[NAME] = ledger.damage.removeprefix(f"{NAME}: ")
    elif digest is not None:
        _compare(digest.lower(), ledger, found)
    for name in FIRST:
        if not ledger.entries or name not in ledger.entries[0]["files"] or name in ledger.recorded_again:
            found.changed[name] = "not recorded in the first line of the log, or recorded again"
    for name, sha256 in ledger.files.items():
        problem = problem_of(run, name, sha256)
        if problem is not None:
            found.changed[name] = problem
    found.notes += [entry["event"] for entry in ledger.entries if "(" in entry["event"]]
    for name, times in ledger.recorded_again.items():
        if name not in MADE_AGAIN:
            found.notes.append(f"{name}: made {times} times, with different contents; the last one stands")
    codes = list(dict.fromkeys(entry["code"] for entry in ledger.entries))
    if len(codes) > 1:
        found.notes.append(f"parts were made by different code: {', '.join(codes)}")
    if _people_decide(run):
        found.notes.append(_of_judgements(run / JUDGEMENTS))
    if ledger.damage is None:
        _check_completeness(run, ledger, found)
    if found.missing:  # a run in progress, or a killed run, may have written these without recording them yet
        for name in MADE_AGAIN:
            if found.changed.pop(name, None) == "content changed":
                found.notes.append(f"{name}: written after the last line of the log")
    return found


def _compare(digest: str, ledger: Ledger, found: Verification) -> None:
    """Compares with the digest that was kept elsewhere; notes what a resumed run has recorded since."""
    if digest == ledger.digest:
        return
    hashes = [entry["hash"] for entry in ledger.entries]
    if digest not in hashes:
        found.changed[NAME] = f"its digest is {ledger.digest}, expected {digest}"
        return
    since = ledger.entries[hashes.index(digest) + 1 :]
    files = ", ".join(dict.fromkeys(name for entry in since for name in entry["files"]))
    found.notes.append(f"the digest given is that of line {hashes.index(digest) + 1}; recorded since: {files}")


def _check_completeness(run: Path, ledger: Ledger, found: Verification) -> None:
    planned = _planned(run)
    if planned is None:
        found.changed.setdefault("seal.json", "cannot be read")
    for place in planned or []:
        if f"{place}/measurement.json" not in ledger.files:
            found.missing.append(place.removeprefix("trials/"))
    found.missing += [part for part, names in PARTS.items() if not any(name in ledger.files for name in names)]
    if not found.missing:
        for path in sealed_files(run):
            name = path.relative_to(run).as_posix()
            if name in ledger.files:
                continue
            if name.partition("/")[0] in TRIALS:
                found.changed[name] = "added after the run"
            else:
                found.notes.append(f"{name}: not part of the run")


def _planned(run: Path) -> list[str] | None:
    """The folders of the sealed plan's trials."""
    try:
        plan = json.loads((run / "seal.json").read_bytes())["plan"]
        trials = [f"trials/{trial['backbone']}-s{trial['seed']}" for trial in plan["trials"]]
        return [*(str(trial["folder"]) for trial in plan.get("sweep", [])), *trials]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _people_decide(run: Path) -> bool:
    try:
        return upgrade(json.loads((run / "seal.json").read_bytes())["protocol"])["bar"]["measure"] == "human"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _of_judgements(path: Path) -> str:
    rests = f"the verdict rests on {JUDGEMENTS} (bar.measure), which is outside the seal"
    try:
        if path.is_file() and not path.is_symlink():
            return f"{rests}; its SHA-256, to be kept elsewhere: {file_digest(path)}"
        return f"{rests}, and {'is no file' if path.exists() or path.is_symlink() else 'is not there yet'}"
    except OSError as error:
        return f"{rests}, and cannot be read ({error.strerror})"
