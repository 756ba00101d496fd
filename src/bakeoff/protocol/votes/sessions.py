"""The record of blind sessions, `judgements.jsonl`: what its lines say, and which sessions they prove; pure.

    {"event": "begin", "session", "who", "time", "seed", "commitment", "items", "shown": [ids in order]}
    {"event": "vote", "session", "who", "time", "item", "vote", "order", "seed", "commitment"}
    {"event": "reveal", "session", "who", "time", "salt", "mapping", "votes"}

`mapping` is the canonical JSON of {id: [backbone, seed, first sample, samples, SHA-256 of the samples]}. The
commitment, which stands in the first line, is SHA-256 of salt + mapping: what is behind each id is fixed before the
first vote. The order shown is a shuffle of the sorted ids by `seed`, and so knows nothing of the mapping. `votes` is
SHA-256 of the canonical JSON of {id: vote} as it was in the end.
"""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bakeoff.protocol.seal import canonical, digest
from bakeoff.protocol.votes.agreement import SampleSet, Vote

LONGEST_NAME = 40
MOST_ITEMS = 100_000
SEEDS = 2**31  # seeds lie below
NOTED = 20  # problems that are spelled out


def _named(who: str) -> str:
    if not who.isprintable() or who != who.strip():
        raise ValueError("not a printable name")
    return who


Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Who = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_named)]
BackboneName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
Samples = Annotated[int, Field(ge=0, le=100_000)]


class Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    session: Id
    who: Who
    time: Annotated[str, Field(pattern=r"^[0-9T:+.Z-]{10,40}$")]


class Begun(Line):
    event: Literal["begin"] = "begin"
    seed: Seed  # of the order
    commitment: Digest
    items: Annotated[int, Field(ge=1, le=MOST_ITEMS)]
    shown: Annotated[list[Id], Field(min_length=1, max_length=MOST_ITEMS)]


class Voted(Line):
    event: Literal["vote"] = "vote"
    item: Id
    vote: Vote
    order: Annotated[int, Field(ge=1, le=MOST_ITEMS)]  # place in the order shown
    seed: Seed
    commitment: Digest


class Revealed(Line):
    event: Literal["reveal"] = "reveal"
    salt: Digest
    mapping: str
    votes: Digest


Entry = Annotated[Begun | Voted | Revealed, Field(discriminator="event")]
ENTRY: TypeAdapter[Begun | Voted | Revealed] = TypeAdapter(Entry)
MAPPING = TypeAdapter(dict[Id, tuple[BackboneName, Seed, Samples, Samples, Digest]])


def mapping_text(sets: dict[str, SampleSet]) -> str:
    """The canonical JSON of what is behind each id."""
    return canonical({item: list(behind) for item, behind in sets.items()})


def commitment(salt: str, mapping: str) -> str:
    return hashlib.sha256((salt + mapping).encode()).hexdigest()


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """The order shown; a function of the ids and the seed alone."""
    order = sorted(ids)
    random.Random(seed).shuffle(order)
    return order


def check_mapping(begun: Begun, salt: str, mapping: str) -> dict[str, SampleSet]:
    """What was behind each id, if it is what was committed to.

    Raises:
        ValueError: says why it is not.
    """
    if commitment(salt, mapping) != begun.commitment:
        raise ValueError("what was revealed is not what was committed to")
    try:
        sets = {item: SampleSet(*behind) for item, behind in MAPPING.validate_json(mapping).items()}
    except ValidationError:
        raise ValueError("its mapping cannot be read") from None
    if mapping_text(sets) != mapping or set(sets) != set(begun.shown) or len(set(sets.values())) < len(sets):
        raise ValueError("its mapping is not one of the sets that were shown")
    return sets


@dataclass
class SessionRecord:
    """One session, as far as its lines go."""

    begun: Begun
    votes: dict[str, str] = field(default_factory=dict)
    revealed: Revealed | None = None
    sets: dict[str, SampleSet] = field(default_factory=dict)  # after the reveal
    damage: str | None = None

    @property
    def left(self) -> int:
        return self.begun.items - len(self.votes)

    def add(self, line: Voted | Revealed) -> None:
        """Raises ValueError if the line cannot follow."""
        if line.who != self.begun.who:
            raise ValueError("it was begun by somebody else")
        if self.revealed is not None:
            raise ValueError("it goes on after its reveal")
        if isinstance(line, Revealed):
            if self.left:
                raise ValueError("it was revealed before its last vote")
            if digest(self.votes) != line.votes:
                raise ValueError("its votes are not those of its reveal")
            self.sets, self.revealed = check_mapping(self.begun, line.salt, line.mapping), line
            return
        if not self.left:
            raise ValueError("a vote was changed after the last one")
        shown, place = self.begun.shown, line.order - 1
        if place >= len(shown) or shown[place] != line.item:
            raise ValueError("a vote is of nothing that was shown there")
        if (line.seed, line.commitment) != (self.begun.seed, self.begun.commitment):
            raise ValueError("a vote is of another order or another commitment")
        self.votes[line.item] = line.vote


@dataclass
class Sessions:
    """All sessions of a record.

    Attributes:
        records: by id, in the order in which they were begun.
        revealed: ids, in the order in which they were revealed.
        unreadable: numbers of the lines that are not what was written.
    """

    records: dict[str, SessionRecord] = field(default_factory=dict)
    revealed: list[str] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)

    @property
    def finished(self) -> list[SessionRecord]:
        """Those that hold to the last line, in the order in which they were revealed."""
        return [record for name in self.revealed if (record := self.records[name]).damage is None]

    def add(self, line: Begun | Voted | Revealed) -> bool:
        """Whether the line belongs to a session of the record."""
        record = self.records.get(line.session)
        if isinstance(line, Begun):
            if record is None:
                self.records[line.session] = SessionRecord(line, damage=_problem(line))
            else:
                record.damage = record.damage or "it was begun twice"
            return True
        if record is None:
            return False
        try:
            record.add(line)
        except ValueError as error:
            record.damage = record.damage or str(error)
        if record.revealed is line:
            self.revealed.append(line.session)
        return True

    def interrupt(self) -> None:
        """A line that cannot be read may have been of any session that was open there."""
        for record in self.records.values():
            if record.revealed is None:
                record.damage = record.damage or "a line is damaged between its first and its last"

    def notes(self) -> list[str]:
        """What is left out, and why."""
        found = []
        if self.unreadable:
            lines = ", ".join(map(str, self.unreadable[:NOTED])) + (", ..." if len(self.unreadable) > NOTED else "")
            found.append(f"lines that cannot be read: {lines}")
        found += [
            f"session {name[:8]} of {record.begun.who} left out: {record.damage}"
            for name, record in self.records.items()
            if record.damage is not None
        ]
        unfinished = sum(one.damage is None and one.revealed is None for one in self.records.values())
        if unfinished:
            found.append(f"{unfinished} {'session' if unfinished == 1 else 'sessions'} left out: not finished")
        return found


def _problem(begun: Begun) -> str | None:
    if len(begun.shown) != begun.items or len(set(begun.shown)) != begun.items:
        return "the sets shown are not as many as it says"
    if shuffled(begun.shown, begun.seed) != begun.shown:
        return "its order is not that of its seed"
    return None


def read_sessions(content: bytes) -> Sessions:
    """All sessions of a record; raises nothing. What stands behind the last line end was not wholly written."""
    sessions = Sessions()
    for number, text in enumerate(content.split(b"\n")[:-1], 1):
        try:
            known = sessions.add(ENTRY.validate_json(text))
        except (ValidationError, RecursionError):
            sessions.interrupt()
            known = False
        if not known:
            sessions.unreadable.append(number)
    return sessions
