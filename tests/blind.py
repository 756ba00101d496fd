"""Blind judging, as the tests of its sessions and of its record do it."""

from pathlib import Path

from bakeoff.judging import store
from bakeoff.judging.sessions import VOTES, Session, cast
from bakeoff.run.directory import RunDir

NAMES = ("mamba", "transformer", "hybrid")


def record(run: RunDir) -> str:
    path = run.path / store.NAME
    return path.read_text() if path.exists() else ""


def hidden(run: RunDir) -> list[Path]:
    return sorted(run.path.glob(".judging-*"))


def vote_all(run: RunDir, session: Session, vote: str | None = None) -> Session:
    for place, item in enumerate(session.shown):
        session = cast(run, session.id, item, vote or VOTES[place % 3])
    return session
