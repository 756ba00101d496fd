"""The ledger `log.jsonl`: a hash-chained record of every file of a run, written as each becomes final.

Every line is one JSON object in canonical form. `hash` is the SHA-256 of the line without that field, and `previous`
is the hash of the line before. So the last hash covers every byte of the sealed part: whoever keeps it elsewhere can
check later that nothing was changed. Only the runner writes the ledger.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from bakeoff.errors import printable
from bakeoff.protocol.seal import canonical
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import write_atomic
from bakeoff.rundir.version import running_code

NAME = "log.jsonl"
LARGEST = 64 << 20
RETRACTED = ""  # in place of a digest: the file is about to be made again
MADE_AGAIN = ("environment.json", "verdict.json", "samples.png")  # by every resumed run
FIRST = ("protocol.toml", "seal.json")  # recorded once, in the first line
TRIALS = ("sweep", "trials")  # folders of trials
JUDGEMENTS = "judgements.jsonl"
OUTSIDE = (JUDGEMENTS, "report")  # made after the seal, so not in the ledger


@dataclass
class Ledger:
    """The valid lines, up to the first invalid one.

    Attributes:
        entries: the valid lines, in order.
        damage: why reading stopped before the end; None if it reached the end.
    """

    entries: list[dict[str, Any]]
    damage: str | None = None

    @property
    def digest(self) -> str | None:
        """The last hash, which covers the whole run so far."""
        return self.entries[-1]["hash"] if self.entries else None

    @property
    def files(self) -> dict[str, str]:
        """Path in the run directory -> SHA-256, as last recorded; retracted files are left out."""
        last = {path: sha256 for entry in self.entries for path, sha256 in entry["files"].items()}
        return {path: sha256 for path, sha256 in last.items() if sha256 != RETRACTED}

    @property
    def recorded_again(self) -> dict[str, int]:
        """Path -> how many different contents were recorded for it, where there is more than one."""
        seen: dict[str, set[str]] = {}
        for entry in self.entries:
            for path, sha256 in entry["files"].items():
                if sha256 != RETRACTED:
                    seen.setdefault(path, set()).add(sha256)
        return {path: len(digests) for path, digests in seen.items() if len(digests) > 1}


def read_ledger(run: Path) -> Ledger:
    """Reads the ledger of a run. Raises nothing; `damage` says what cannot be read."""
    path = run / NAME
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return Ledger([], f"{NAME}: a link, or larger than {LARGEST} bytes")
        content = path.read_bytes()
    except OSError as error:
        return Ledger([], f"{NAME}: {error.strerror or 'cannot be read'}")
    entries: list[dict[str, Any]] = []
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        entry = _checked(line, entries[-1]["hash"] if entries else "", number)
        if entry is None:
            return Ledger(entries, f"{NAME}: line {number} is not what was written")
        entries.append(entry)
    if rest or not entries:
        return Ledger(entries, f"{NAME}: its end is damaged")
    return Ledger(entries)


def record(run: RunDir, event: str, paths: Iterable[Path], *, only_new: bool = False) -> str:
    """Appends a line with the digests of the new and changed ones of these files, if any; returns the last hash.

    A damaged ledger is cut back to its valid lines; the next line says so and records the lost files again. Files in
    the valid lines keep their digests.

    Args:
        only_new: leave out files that the ledger already has, changed or not.
    """
    ledger, files = read_ledger(run.path), {}
    known = ledger.files
    if ledger.damage is not None and (run.path / NAME).exists():
        event = f"{event} (the rest recorded anew after damage: {ledger.damage})"
        there = [(path, path.relative_to(run.path).as_posix()) for path in sealed_files(run.path)]
        paths = [*paths, *(path for path, name in there if name not in known or name in MADE_AGAIN)]
    if only_new:
        paths = [path for path in paths if path.relative_to(run.path).as_posix() not in known]
    for path in paths:
        if path.is_file() and not path.is_symlink():
            name = path.relative_to(run.path).as_posix()
            if known.get(name) != (sha256 := file_digest(path)):
                files[name] = sha256
    if files or ledger.damage is not None or ledger.digest is None:
        return _append(run, ledger, event, files)
    return ledger.digest


def retract(run: RunDir, event: str, paths: Iterable[Path]) -> None:
    """Records that these files are about to be made again; their recorded digests are no longer valid."""
    ledger = read_ledger(run.path)
    names = [path.relative_to(run.path).as_posix() for path in paths]
    if ledger.damage is None and (known := [name for name in names if name in ledger.files]):
        _append(run, ledger, event, {name: RETRACTED for name in known})


def _append(run: RunDir, ledger: Ledger, event: str, files: dict[str, str]) -> str:
    entry = {
        "n": len(ledger.entries) + 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": event,
        "code": str(running_code()),
        "files": files,
        "previous": ledger.digest or "",
    }
    entry["hash"] = _hash(entry)
    lines = [canonical(one) for one in [*ledger.entries, entry]]
    write_atomic(run.path / NAME, ("\n".join(lines) + "\n").encode())
    return entry["hash"]


def changed_files(run: Path, paths: Iterable[Path]) -> dict[str, str]:
    """The files among these that exist and differ from the ledger: path -> what is wrong."""
    ledger = read_ledger(run)
    known, found = ledger.files, {}
    if ledger.damage is not None:
        found[NAME] = ledger.damage.removeprefix(f"{NAME}: ")
    for path in paths:
        name = path.relative_to(run).as_posix()
        if name in known and path.exists() and (problem := problem_of(run, name, known[name])) is not None:
            found[name] = problem
    return found


def sealed_files(run: Path) -> Iterator[Path]:
    """Every existing file of the sealed part, without the ledger and the runner's own working files."""
    for path in sorted(run.rglob("*")):
        parts = path.relative_to(run).parts
        ours = parts[0] in (NAME, *OUTSIDE) or path.name.startswith(".") or path.suffix == ".ckpt"
        if not ours and (path.is_symlink() or path.is_file()):
            yield path


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problem_of(run: Path, name: str, sha256: str) -> str | None:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        return "leads out of the run directory"
    path = run.joinpath(*parts)
    if any(run.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts) + 1)):
        return "is a link"
    try:
        if not path.is_file():
            return "missing" if not path.exists() else "not a file"
        return None if file_digest(path) == sha256 else "content changed"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _checked(line: bytes, previous: str, number: int) -> dict[str, Any] | None:
    """The line's entry if it is exactly what `record` writes there; None otherwise."""
    try:
        entry = json.loads(line)
        whole = (
            isinstance(entry, dict)
            and entry.keys() == {"n", "time", "event", "code", "files", "previous", "hash"}
            and canonical(entry).encode() == line
            and (entry["n"], entry["previous"], entry["hash"]) == (number, previous, _hash(entry))
            and all(_is_text(text) for text in (entry["event"], entry["time"], entry["code"]))
            and all(_is_text(text) for item in entry["files"].items() for text in item)
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return entry if whole else None


def _is_text(value: Any) -> bool:
    """Whether the value is a text that is safe to show on a terminal."""
    return isinstance(value, str) and printable(value) == value


def _hash(entry: dict[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "hash"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()
