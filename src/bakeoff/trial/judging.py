"""Blind judging: people look at sets of samples and do not know whose they are, until the last vote is cast.

What is behind each set lies in a hidden file while the session is open, so that a restarted program goes on with it,
and is committed to in `judgements.jsonl` before the first vote (`bakeoff.protocol.blind`). Every call reads the state
from there: threads, processes and restarts see one and the same session.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, get_args

import numpy as np

from bakeoff.errors import BakeoffError
from bakeoff.protocol.blind import (
    LONGEST_NAME,
    SEEDS,
    Begun,
    Record,
    Revealed,
    Voted,
    commitment,
    mapping_text,
    shuffled,
)
from bakeoff.protocol.people import (
    VOTES,
    Agreement,
    SampleSet,
    Tally,
    Vote,
)
from bakeoff.trial.people import Judgements, agreement, by_backbone, images_of, judgements, judgements_of
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.samples import count_of
from bakeoff.trial.votelog import Book, Secret, forget, hide, now, read_record, secret_of, session_of, writing

__all__ = [
    "SAMPLES", "SETS", "VOTES", "Item", "Judgements", "Reveal", "RevealedItem", "Session", "StillOpen", "begin", "cast",
    "judgements", "resume", "reveal",
]  # fmt: skip

SETS = 2  # of one trial in a session
SAMPLES = 16  # of a set


class StillOpen(BakeoffError):
    """The last vote is not cast yet."""


class Item(NamedTuple):
    """A set as it is shown: an opaque id, and uint8 images (16, 28, 28); fewer where a trial has fewer samples."""

    id: str
    images_BHW: np.ndarray


@dataclass
class Session:
    """One person's session: what to show, and the votes so far, each of which may be changed until the last."""

    id: str
    who: str
    shown: list[str]
    votes: dict[str, str]  # item to vote
    _run: RunDir = field(repr=False)
    _sets: Mapping[str, SampleSet] = field(repr=False)

    @property
    def left(self) -> int:
        """Votes still to be cast."""
        return len(self.shown) - len(self.votes)

    @cached_property
    def items(self) -> list[Item]:
        """In the order to be shown; read when first asked for.

        Raises:
            BakeoffError: samples that cannot be read.
        """
        images = images_of(self._run, self._sets.values())
        return [Item(item, images[self._sets[item]]) for item in self.shown]


class RevealedItem(NamedTuple):
    id: str
    vote: str
    backbone: str
    seed: int


@dataclass(frozen=True)
class Reveal:
    """What a finished session turns out to have been.

    Attributes:
        items: in the order in which they were shown.
        backbones: this session's votes by backbone, in the protocol's order.
        agreement: of this session with the automatic judge; and of all people of the run, this session included.
        mapping: canonical JSON of id to [backbone, seed, first sample, samples]; SHA-256 of salt + mapping is the
            commitment, which was written before the first vote.
    """

    items: list[RevealedItem]
    backbones: dict[str, Tally]
    agreement: Agreement
    commitment: str
    salt: str
    mapping: str


def begin(run: RunDir, who: str) -> Session:
    """A new session over every finished, completed trial, the same places of each.

    A person's first session shows the first samples, the next one the next: what a reveal has named is not shown
    again, as long as there are others.

    Args:
        who: 1 to 40 printable characters.

    Raises:
        BakeoffError: no trial to judge, an impossible name, or a run directory that cannot be written.
    """
    who = check_name(who)
    trials = [trial for trial in run.trials() if trial.done and trial.measurement().status == "completed"]
    if not trials:
        raise BakeoffError(f"{run.path}: no trial is finished, so there is nothing to judge yet.")
    with writing(run) as book:
        before = sum(record.begun.who == who for record in book.sessions.finished)
        places = places_of_session(count_of(run.protocol), before)
        sets = {
            secrets.token_hex(16): SampleSet(trial.backbone, trial.seed, first, size)
            for trial in trials
            for first, size in places
        }
        session, secret = secrets.token_hex(16), Secret(secrets.token_hex(32), mapping_text(sets))
        seed = secrets.randbelow(SEEDS)
        order, promise = shuffled(sets, seed), commitment(*secret)
        line = Begun(session=session, who=who, time=now(), seed=seed, commitment=promise, items=len(sets), shown=order)
        try:
            hide(run, session, secret)
            book.append(line)
        except (OSError, BakeoffError):
            forget(run, session)
            raise
    return Session(session, who, order, {}, run, sets)


def places_of_session(samples: int, before: int) -> list[tuple[int, int]]:
    """First sample and size of a trial's sets, for a person who has finished `before` sessions."""
    size = min(SAMPLES, samples)
    sets = min(SETS, samples // size)
    block = before % (samples // (size * sets))
    return [((block * sets + i) * size, size) for i in range(sets)]


def check_name(who: str) -> str:
    """Without spaces around it. Raises BakeoffError for what cannot stand in the record as a name."""
    name = who.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        given = ascii(who[:LONGEST_NAME])
        raise BakeoffError(f"who = {given}: give a name of 1 to {LONGEST_NAME} printable characters.")
    return name


def resume(run: RunDir, session_id: str) -> Session:
    """A session that was begun, by this process or an earlier one.

    Raises:
        BakeoffError: unknown, damaged, or what is behind its sets is lost.
    """
    record = session_of(read_record(run), session_id)
    return _session(run, record, record.sets or secret_of(run, record)[1])


def cast(run: RunDir, session_id: str, item_id: str, vote: str) -> Session:
    """Say one vote, or another one in its place; the last one closes the session, and its reveal is written.

    Raises:
        BakeoffError: unknown session, item or vote; or the last vote was cast before.
    """
    session_of(read_record(run), session_id)  # before a record is made where there is none
    with writing(run) as book:
        record = session_of(book.sessions, session_id)
        shown = record.begun.shown
        if not record.left:
            raise BakeoffError("All votes of this session are cast; none can be changed any more.")
        if item_id not in shown:
            raise BakeoffError(f"item = {item_id[:40]!r}: nothing that this session has shown.")
        secret, sets = secret_of(run, record)
        line = Voted(
            session=session_id,
            who=record.begun.who,
            time=now(),
            item=item_id,
            vote=_checked(vote),
            order=shown.index(item_id) + 1,
            seed=record.begun.seed,
            commitment=record.begun.commitment,
        )
        book.append(line)
        if not record.left:
            _close(run, book, record, secret)
        return _session(run, record, sets)


def reveal(run: RunDir, session_id: str) -> Reveal:
    """Whose the sets were.

    Raises:
        StillOpen: votes are left.
        BakeoffError: unknown or damaged.
    """
    record = session_of(read_record(run), session_id)
    if record.left:
        raise StillOpen(f"{record.left} of {record.begun.items} votes are left; whose the sets are is told after them.")
    if record.revealed is None:  # a kill came between the last vote and its reveal
        with writing(run) as book:
            record = session_of(book.sessions, session_id)
            if record.revealed is None:
                _close(run, book, record, secret_of(run, record)[0])
    forget(run, session_id)
    assert record.revealed is not None
    votes, everybody = judgements_of(record), judgements(run)
    return Reveal(
        items=[
            RevealedItem(item, record.votes[item], record.sets[item].backbone, record.sets[item].seed)
            for item in record.begun.shown
        ],
        backbones=by_backbone(run, votes),
        agreement=agreement(run, votes, everybody.votes),
        commitment=record.begun.commitment,
        salt=record.revealed.salt,
        mapping=record.revealed.mapping,
    )


def _session(run: RunDir, record: Record, sets: Mapping[str, SampleSet]) -> Session:
    return Session(record.begun.session, record.begun.who, record.begun.shown, dict(record.votes), run, sets)


def _checked(vote: str) -> Vote:
    for known in get_args(Vote):
        if vote == known:
            return known
    raise BakeoffError(f"vote = {vote[:40]!r}; allowed: {', '.join(VOTES)}.")


def _close(run: RunDir, book: Book, record: Record, secret: Secret) -> None:
    begun = record.begun
    book.append(Revealed(session=begun.session, who=begun.who, time=now(), salt=secret.salt, mapping=secret.mapping))
    forget(run, begun.session)
