"""Blind judging: people look at sets of samples and do not know whose they are, until the last vote is cast.

What is behind each set lies in a hidden file while the session is open, so that a restarted program goes on with it,
and is committed to in `judgements.jsonl` before the first vote (`bakeoff.protocol.votes.sessions`). Every call reads
the state from there: threads, processes and restarts see one and the same session.
"""

import secrets
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, get_args

import numpy as np

from bakeoff.artefacts.images import read_samples
from bakeoff.errors import BakeoffError
from bakeoff.judging.store import Book, Secret, forget, hide, now, read_record, secret_of, session_of, writing
from bakeoff.judging.tally import Judgements, agreement, by_backbone, images_of, judgements, judgements_of, sample_set
from bakeoff.protocol.seal import digest
from bakeoff.protocol.votes.agreement import SAMPLES, SETS, VOTES, Agreement, SampleSet, Tally, Vote, places_of_sessions
from bakeoff.protocol.votes.sessions import (
    LONGEST_NAME,
    SEEDS,
    Begun,
    Revealed,
    SessionRecord,
    Voted,
    commitment,
    mapping_text,
    shuffled,
)
from bakeoff.run.directory import RunDir, TrialDir

__all__ = [
    "SAMPLES", "SETS", "VOTES", "Item", "Judgements", "Reveal", "RevealedItem", "Session", "StillOpen", "Unreadable",
    "begin", "cast", "judgements", "resume", "reveal",
]  # fmt: skip


class StillOpen(BakeoffError):
    """The last vote is not cast yet."""


class Unreadable(BakeoffError):
    """Samples that cannot be shown; does not say whose, for somebody may be judging them."""


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
            Unreadable: samples that cannot be read, or are not those that the session began with.
        """
        images, lost = images_of(self._run, self._sets.values())
        if lost:
            raise Unreadable(
                f"Samples of this session cannot be read, or have changed: {len(lost)} of {len(self.shown)} sets; "
                "`bakeoff verify` says which. Begin a new session when they are there again."
            )
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
        mapping: canonical JSON of id to [backbone, seed, first sample, samples, SHA-256 of the images]; SHA-256 of
            salt + mapping is the commitment, which was written before the first vote.
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
    again. A session of the same sets that the person has left without a vote is handed back.

    Args:
        who: 1 to 40 printable characters; names that differ in capitals alone are one person.

    Raises:
        Unreadable: samples that cannot be read.
        BakeoffError: no trial to judge, nothing left for this person, an impossible name, or a run directory that
            cannot be written.
    """
    who = check_name(who)
    samples = _judgeable(run)
    with writing(run) as book:
        holding = [record for record in book.sessions.records.values() if record.damage is None]
        mine = [record for record in holding if record.begun.who.casefold() == who.casefold()]
        wanted = _not_seen(run, samples, {one for record in mine for one in record.sets.values()})
        if not wanted:
            raise BakeoffError(f"{who} has judged all samples of this run; the next votes must be another person's.")
        for record in mine:
            if not record.votes:
                with suppress(BakeoffError):  # what is behind it is lost
                    sets = secret_of(run, record)[1]
                    if set(sets.values()) == set(wanted):
                        return _session(run, record, sets)
        sets = {secrets.token_hex(16): one for one in wanted}
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


def _judgeable(run: RunDir) -> list[tuple[TrialDir, np.ndarray]]:
    """Every finished, completed trial, and its samples."""
    statuses = {trial.path: trial.measurement().status if trial.done else "not finished" for trial in run.trials()}
    trials = [trial for trial in run.trials() if statuses[trial.path] == "completed"]
    if not trials:
        count = Counter(statuses.values())
        raise BakeoffError(
            f"{run.path}: no samples to judge; of {len(statuses)} trials {count['diverged']} diverged and "
            f"{count['not finished']} are not finished."
        )
    try:
        return [(trial, read_samples(trial.samples, run.protocol)) for trial in trials]
    except BakeoffError:
        raise Unreadable("Samples of this run cannot be read; `bakeoff verify` says which.") from None


def _not_seen(run: RunDir, samples: list[tuple[TrialDir, np.ndarray]], seen: set[SampleSet]) -> list[SampleSet]:
    """The first places of which the person has seen no set; empty if there are none."""
    for places in places_of_sessions(run.protocol.samples_drawn):
        sets = [sample_set(trial, samples_BHW, *place) for trial, samples_BHW in samples for place in places]
        if seen.isdisjoint(sets):
            return sets
    return []


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
    votes, everybody = judgements_of(record, record.begun.who), judgements(run)
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


def _session(run: RunDir, record: SessionRecord, sets: Mapping[str, SampleSet]) -> Session:
    return Session(record.begun.session, record.begun.who, record.begun.shown, dict(record.votes), run, sets)


def _checked(vote: str) -> Vote:
    for known in get_args(Vote):
        if vote == known:
            return known
    raise BakeoffError(f"vote = {vote[:40]!r}; allowed: {', '.join(VOTES)}.")


def _close(run: RunDir, book: Book, record: SessionRecord, secret: Secret) -> None:
    begun = record.begun
    line = Revealed(
        session=begun.session,
        who=begun.who,
        time=now(),
        salt=secret.salt,
        mapping=secret.mapping,
        votes=digest(record.votes),
    )
    book.append(line)
    forget(run, begun.session)
