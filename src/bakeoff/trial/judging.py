"""Blind judging: people look at sets of samples and do not know whose they are, until the last vote is cast.

What is behind each set lies in a hidden file while the session is open, so that a restarted program goes on with it,
and is committed to in `judgements.jsonl` before the first vote (`bakeoff.protocol.blind`). Every call reads the state
from there: threads, processes and restarts see one and the same session.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, get_args

import numpy as np

from bakeoff.data.mnist import as_images
from bakeoff.errors import BakeoffError
from bakeoff.judge import load_judge, recognise
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
    Judgement,
    SampleSet,
    Tally,
    Vote,
    between_people,
    tally,
    with_judge,
)
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.samples import count_of, read_samples
from bakeoff.trial.votelog import Book, Secret, forget, hide, now, read_record, secret_of, session_of, writing

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
        images = _images(self._run, self._sets.values())
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


@dataclass
class Judgements:
    """All that people said of a run in sessions that hold; a person's first vote on a set counts, later ones do not.

    Attributes:
        sessions: how many count.
        notes: what was left out, and why.
    """

    votes: list[Judgement]
    sessions: int
    notes: list[str]
    _run: RunDir = field(repr=False)

    @property
    def people(self) -> list[str]:
        return list(dict.fromkeys(one.who for one in self.votes))

    @property
    def backbones(self) -> dict[str, Tally]:
        """In the protocol's order, those without votes included."""
        return _by_backbone(self._run, self.votes)

    def of_trial(self, backbone: str, seed: int) -> Tally:
        return tally(one.vote for one in self.votes if (one.seen.backbone, one.seen.seed) == (backbone, seed))

    @cached_property
    def agreement(self) -> Agreement:
        """Trials whose samples cannot be read are left out of the agreement with the judge."""
        return _agreement(self._run, self.votes, self.votes)


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
        hide(run, session, secret)
        book.append(
            Begun(session=session, who=who, time=now(), seed=seed, commitment=promise, items=len(sets), shown=order)
        )
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
    votes, everybody = _judgements_of(record), judgements(run)
    return Reveal(
        items=[
            RevealedItem(item, record.votes[item], record.sets[item].backbone, record.sets[item].seed)
            for item in record.begun.shown
        ],
        backbones=_by_backbone(run, votes),
        agreement=_agreement(run, votes, everybody.votes),
        commitment=record.begun.commitment,
        salt=record.revealed.salt,
        mapping=record.revealed.mapping,
    )


def judgements(run: RunDir) -> Judgements:
    """All finished sessions of the record that hold.

    Raises:
        BakeoffError: the record is no file, or too large.
    """
    sessions = read_record(run)
    votes, notes = dict[tuple[str, SampleSet], Judgement](), sessions.notes()
    count, planned = 0, {(trial.backbone, trial.seed) for trial in run.trials()}
    for record in sessions.finished:
        name = f"session {record.begun.session[:8]} of {record.begun.who}"
        if any(
            (one.backbone, one.seed) not in planned or not 0 < one.size <= count_of(run.protocol) - one.first
            for one in record.sets.values()
        ):
            notes.append(f"{name} left out: it is of trials or samples that this run does not have")
            continue
        count, again = count + 1, 0
        for one in _judgements_of(record):
            again += (one.who, one.seen) in votes
            votes.setdefault((one.who, one.seen), one)
        if again:
            notes.append(f"{name}: {again} votes left out, on sets that an earlier reveal had named")
    return Judgements(list(votes.values()), count, notes, run)


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


def _judgements_of(record: Record) -> list[Judgement]:
    return [Judgement(record.begun.who, record.sets[item], record.votes[item]) for item in record.begun.shown]


def _by_backbone(run: RunDir, votes: Iterable[Judgement]) -> dict[str, Tally]:
    votes = list(votes)
    names = [backbone.name for backbone in run.protocol.backbones]
    return {name: tally(one.vote for one in votes if one.seen.backbone == name) for name in names}


def _agreement(run: RunDir, votes: list[Judgement], everybody: list[Judgement]) -> Agreement:
    words = judge_words(run, (one.seen for one in votes))
    return Agreement(with_judge(votes, words), between_people(everybody))


def judge_words(run: RunDir, sets: Iterable[SampleSet]) -> dict[SampleSet, str]:
    """The automatic judge's word on each set: "clean" if at least the protocol's share of its samples is recognised.

    Trials whose samples cannot be read are left out.
    """
    by_trial: dict[tuple[str, int], list[SampleSet]] = {}
    for one in dict.fromkeys(sets):
        by_trial.setdefault((one.backbone, one.seed), []).append(one)
    words = {}
    for of_trial in by_trial.values():
        try:
            images = _images(run, of_trial)
        except BakeoffError:
            continue
        for one in of_trial:
            _, probabilities_BK = load_judge().look(as_images(images[one]))
            share = recognise(probabilities_BK)[0].double().mean().item()
            words[one] = "clean" if share >= run.protocol.judge.recognised else "noise"
    return words


def _images(run: RunDir, sets: Iterable[SampleSet]) -> dict[SampleSet, np.ndarray]:
    """uint8 images of each set; each trial's file is read once."""
    sets = list(sets)
    whole = {
        (backbone, seed): read_samples(run.trial(backbone, seed).samples, run.protocol)
        for backbone, seed in {(one.backbone, one.seed) for one in sets}
    }
    return {one: whole[one.backbone, one.seed][one.first : one.first + one.size] for one in sets}
