"""The files of blind judging: `judgements.jsonl`, appended to line by line, and what an open session keeps secret.

Writers take turns by a lock on the record itself. A line is on the disk before the next; a killed writer leaves at
most a torn last one, which readers skip and the next writer cuts off.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bakeoff.errors import BakeoffError
from bakeoff.protocol.votes.agreement import SampleSet
from bakeoff.protocol.votes.sessions import (
    Begun,
    Revealed,
    SessionRecord,
    Sessions,
    Voted,
    check_mapping,
    read_sessions,
)
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import sync_folder
from bakeoff.rundir.ledger import JUDGEMENTS
from bakeoff.rundir.locks import held

LARGEST_RECORD = 64 << 20
WAIT_S = 3.0  # a line takes milliseconds; a person waits for the answer


def read_record(run: RunDir) -> Sessions:
    """All sessions of a run; none if nobody has judged.

    Raises:
        BakeoffError: not a file, or too large.
    """
    path = run.path / JUDGEMENTS
    try:
        return read_sessions(_read(path))
    except FileNotFoundError:
        return Sessions()
    except OSError as error:
        raise BakeoffError(f"{path}: cannot be read ({error.strerror}).") from None


def session_of(sessions: Sessions, session_id: str) -> SessionRecord:
    """One session of the record. Only what stands there is known, so an id from outside never becomes a path.

    Raises:
        BakeoffError: unknown, or damaged.
    """
    record = sessions.records.get(session_id)
    if record is None:
        raise BakeoffError(f"session = {session_id[:40]!r}: no such session in this run; begin a new one.")
    if record.damage is not None:
        raise BakeoffError(f"session {session_id[:8]}: its record is damaged ({record.damage}); begin a new one.")
    return record


class RecordWriter:
    """The record, while nobody else writes it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        content = _read(path, descriptor)
        self._end = content.rfind(b"\n") + 1
        self.sessions = read_sessions(content[: self._end])

    def append(self, line: Begun | Voted | Revealed) -> None:
        """Add a line: all of it is on the disk when this returns, or none of it if it raises."""
        content = json.dumps({"event": line.event} | line.model_dump()).encode() + b"\n"
        if self._end + len(content) > LARGEST_RECORD:
            raise BakeoffError(f"{self._path}: would grow beyond {LARGEST_RECORD} bytes; that is no record of votes.")
        try:
            os.ftruncate(self._descriptor, self._end)
            with open(self._descriptor, "r+b", closefd=False) as file:
                file.seek(self._end)
                file.write(content)
                file.flush()
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(content)
        self.sessions.add(line)


@contextmanager
def writing(run: RunDir) -> Iterator[RecordWriter]:
    """Raises BakeoffError if the record cannot be written, or another program does not let go of it."""
    path = run.path / JUDGEMENTS
    try:
        new = not path.exists()
        with held(path, f"{path}: another program is writing it; try again.", WAIT_S) as descriptor:
            if new:
                sync_folder(run.path)
            yield RecordWriter(path, descriptor)
    except OSError as error:
        raise BakeoffError(f"{error.filename or path}: cannot be written ({error.strerror}).") from None


class Secret(NamedTuple):
    """What a session keeps until its last vote."""

    salt: str
    mapping: str


def write_secret(run: RunDir, session_id: str, secret: Secret) -> None:
    """For the owner of the directory alone, and on the disk when it returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(_secret_file(run, session_id), flags, 0o600), "w", encoding="utf-8") as file:
        json.dump(secret._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(run.path)


def read_secret(run: RunDir, record: SessionRecord) -> tuple[Secret, dict[str, SampleSet]]:
    """What an open session keeps secret, and the sets that it says are behind the ids.

    Raises:
        BakeoffError: it is lost, or not what the session committed to.
    """
    path = _secret_file(run, record.begun.session)
    try:
        document = json.loads(_read(path))
        secret = Secret(str(document["salt"]), str(document["mapping"]))
        return secret, check_mapping(record.begun, *secret)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)[:80]
        raise BakeoffError(f"{path}: what is behind the sets is lost ({reason}); begin a new session.") from None


def delete_secret(run: RunDir, session_id: str) -> None:
    _secret_file(run, session_id).unlink(missing_ok=True)


def _secret_file(run: RunDir, session_id: str) -> Path:
    return run.path / f".judging-{session_id}.json"


def _read(path: Path, descriptor: int | None = None) -> bytes:
    """All of a file within bounds; a link is not followed, nor a pipe waited for.

    Args:
        descriptor: of the file, where it is open; it stays open.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) if descriptor is None else descriptor
    with open(opened, "rb", closefd=descriptor is None) as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        content = file.read(LARGEST_RECORD + 1)
    if len(content) > LARGEST_RECORD:
        raise BakeoffError(f"{path}: larger than {LARGEST_RECORD} bytes; that is no record of votes.")
    return content
