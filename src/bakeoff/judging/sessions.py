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
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple, get_args

from PIL import Image

from bakeoff.artefacts.base import Items, Kind
from bakeoff.errors import BakeoffError
from bakeoff.judging.store import (
    RecordWriter,
    Secret,
    delete_secret,
    read_record,
    read_secret,
    session_of,
    write_secret,
    writing,
)
from bakeoff.judging.tally import Judgements, judgements, judgements_of, read_sets, sample_set
from bakeoff.protocol.seal import digest
from bakeoff.protocol.votes.agreement import VOTES, Agreement, SampleSet, Tally, Vote, between_people, sets_by_session
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
from bakeoff.rundir.directory import RunDir, TrialDir

COLUMNS = 4  # of a set's picture


class StillOpen(BakeoffError):
    """The last vote is not cast yet."""


class Unreadable(BakeoffError):
    """Samples that cannot be shown; does not say whose, for somebody may be judging them."""


class Item(NamedTuple):
    """A set as it is shown: an opaque id, and up to 16 samples."""

    id: str
    items: Items
    kind: Kind

    def picture(self) -> Image.Image:
        return self.kind.tiles(self.items, COLUMNS)


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
        found, lost = read_sets(self._run, self._sets.values())
        if lost:
            raise Unreadable(
                f"Samples of this session cannot be read, or have changed: {len(lost)} of {len(self.shown)} sets; "
                "`bakeoff verify` says which. Begin a new session when they are there again."
            )
        return [Item(item, found[self._sets[item]], self._run.kind) for item in self.shown]


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
        mapping: canonical JSON of id to [backbone, seed, first sample, samples, SHA-256 of the samples]; SHA-256 of
            salt + mapping is the commitment, which was written before the first vote.
    """

    items: list[RevealedItem]
    backbones: dict[str, Tally]
    agreement: Agreement
    commitment: str
    salt: str
    mapping: str


def begin(run: RunDir, who: str) -> Session:
    """Begin a session over every finished, completed trial, the same places of each.

    A person's first session shows the first samples, the next one the next: what a reveal has named is not shown
    again. A session of the same sets that the person has left without a vote is handed back.

    Args:
        who: 1 to 40 printable characters; names that differ in capitals alone are one person.

    Raises:
        Unreadable: samples that cannot be read.
        BakeoffError: no trial to judge, nothing left for this person, an impossible name, or a run directory that
            cannot be written.
    """
    who = _checked_name(who)
    samples = _judgeable(run)
    with writing(run) as writer:
        holding = [record for record in writer.sessions.records.values() if record.damage is None]
        mine = [record for record in holding if record.begun.who.casefold() == who.casefold()]
        wanted = _not_seen(run, samples, {one for record in mine for one in record.sets.values()})
        if not wanted:
            raise BakeoffError(f"{who} has judged all samples of this run; the next votes must be another person's.")
        for record in mine:
            if not record.votes:
                with suppress(BakeoffError):  # what is behind it is lost
                    sets = read_secret(run, record)[1]
                    if set(sets.values()) == set(wanted):
                        return _session(run, record, sets)
        sets = {secrets.token_hex(16): one for one in wanted}
        secret, seed = Secret(secrets.token_hex(32), mapping_text(sets)), secrets.randbelow(SEEDS)
        line = Begun(
            session=secrets.token_hex(16),
            who=who,
            time=_now(),
            seed=seed,
            commitment=commitment(*secret),
            items=len(sets),
            shown=shuffled(sets, seed),
        )
        try:
            write_secret(run, line.session, secret)
            writer.append(line)
        except (OSError, BakeoffError):
            delete_secret(run, line.session)
            raise
    return _session(run, SessionRecord(line), sets)


def _judgeable(run: RunDir) -> list[tuple[TrialDir, Items]]:
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
        return [(trial, trial.items()) for trial in trials]
    except BakeoffError:
        raise Unreadable("Samples of this run cannot be read; `bakeoff verify` says which.") from None


def _not_seen(run: RunDir, samples: list[tuple[TrialDir, Items]], seen: set[SampleSet]) -> list[SampleSet]:
    """The first places of which the person has seen no set; empty if there are none."""
    for places in sets_by_session(run.protocol.samples_drawn):
        sets = [sample_set(trial, items, *place) for trial, items in samples for place in places]
        if seen.isdisjoint(sets):
            return sets
    return []


def _checked_name(who: str) -> str:
    """Without spaces around it. Raises BakeoffError for what cannot stand in the record as a name."""
    name = who.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        given = ascii(who[:LONGEST_NAME])
        raise BakeoffError(f"who = {given}: give a name of 1 to {LONGEST_NAME} printable characters.")
    return name


def resume(run: RunDir, session_id: str) -> Session:
    """Go on with a session that was begun, by this process or an earlier one.

    Raises:
        BakeoffError: unknown, damaged, or what is behind its sets is lost.
    """
    record = session_of(read_record(run), session_id)
    return _session(run, record, record.sets or read_secret(run, record)[1])


def cast(run: RunDir, session_id: str, item_id: str, vote: str) -> Session:
    """Cast a vote, or another one in its place; the last one closes the session, and its reveal is written.

    Raises:
        BakeoffError: unknown session, item or vote; or the last vote was cast before.
    """
    session_of(read_record(run), session_id)  # before a record is made where there is none
    with writing(run) as writer:
        record = session_of(writer.sessions, session_id)
        begun = record.begun
        if not record.left:
            raise BakeoffError("All votes of this session are cast; none can be changed any more.")
        if item_id not in begun.shown:
            raise BakeoffError(f"item = {item_id[:40]!r}: nothing that this session has shown.")
        secret, sets = read_secret(run, record)
        line = Voted(
            session=session_id,
            who=begun.who,
            time=_now(),
            item=item_id,
            vote=_checked_vote(vote),
            order=begun.shown.index(item_id) + 1,
            seed=begun.seed,
            commitment=begun.commitment,
        )
        writer.append(line)
        if not record.left:
            _close(run, writer, record, secret)
        return _session(run, record, sets)


def reveal(run: RunDir, session_id: str) -> Reveal:
    """Say whose the sets were.

    Raises:
        StillOpen: votes are left.
        BakeoffError: unknown or damaged.
    """
    record = session_of(read_record(run), session_id)
    if record.left:
        raise StillOpen(f"{record.left} of {record.begun.items} votes are left; whose the sets are is told after them.")
    if record.revealed is None:  # a kill came between the last vote and its reveal
        with writing(run) as writer:
            record = session_of(writer.sessions, session_id)
            if record.revealed is None:
                _close(run, writer, record, read_secret(run, record)[0])
    delete_secret(run, session_id)
    assert record.revealed is not None
    mine = Judgements(judgements_of(record, record.begun.who), 1, [], run)
    return Reveal(
        items=[
            RevealedItem(item, one.vote, one.seen.backbone, one.seen.seed)
            for item, one in zip(record.begun.shown, mine.votes, strict=True)
        ],
        backbones=mine.backbones,
        agreement=mine.agreement._replace(people=between_people(judgements(run).votes)),
        commitment=record.begun.commitment,
        salt=record.revealed.salt,
        mapping=record.revealed.mapping,
    )


def _session(run: RunDir, record: SessionRecord, sets: Mapping[str, SampleSet]) -> Session:
    return Session(record.begun.session, record.begun.who, record.begun.shown, dict(record.votes), run, sets)


def _checked_vote(vote: str) -> Vote:
    for known in get_args(Vote):
        if vote == known:
            return known
    raise BakeoffError(f"vote = {vote[:40]!r}; allowed: {', '.join(VOTES)}.")


def _close(run: RunDir, writer: RecordWriter, record: SessionRecord, secret: Secret) -> None:
    """Write the reveal of a session whose last vote is cast."""
    begun = record.begun
    line = Revealed(session=begun.session, who=begun.who, time=_now(), **secret._asdict(), votes=digest(record.votes))
    writer.append(line)
    delete_secret(run, begun.session)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
