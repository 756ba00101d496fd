"""The record of blind sessions: whatever is cut, changed or made up, only sessions that hold are counted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.protocol.seal import digest
from bakeoff.protocol.votes.agreement import VOTES, SampleSet
from bakeoff.protocol.votes.sessions import Sessions, commitment, mapping_text, read_sessions, shuffled

NAMES = ("mamba", "transformer", "hybrid")
TIME = "2026-01-02T03:04:05+00:00"
ZERO = "0" * 64  # a digest
Row = dict[str, Any]


def lines_of(number: int, votes: list[tuple[int, str]], who: str = "Ann", finished: bool = True) -> list[Row]:
    """A session over three sets: first some votes, by place; then, if it is finished, one each and the reveal."""
    ids = [f"{number:016x}{i:016x}" for i in range(3)]
    sets = {item: SampleSet(name, 0, 0, 16, ZERO) for item, name in zip(ids, NAMES, strict=True)}
    mapping, salt = mapping_text(sets), f"{number:064x}"
    shown, promise = shuffled(ids, number), commitment(salt, mapping)
    head = {"session": f"{number:032x}", "who": who, "time": TIME}
    rows: list[Row] = [{"event": "begin"} | head | {"seed": number, "commitment": promise, "items": 3, "shown": shown}]
    first = [(place, vote) for place, vote in votes if place < 2]  # the last place stays open for the end
    last = [(place, VOTES[(number + place) % 3]) for place in range(3)] if finished else []
    rows += [
        {"event": "vote"} | head | {"item": shown[place], "vote": vote, "order": place + 1}
        | {"seed": number, "commitment": promise}
        for place, vote in first + last
    ]  # fmt: skip
    votes = digest({row["item"]: row["vote"] for row in rows[1:]})
    return rows + (
        [{"event": "reveal"} | head | {"salt": salt, "mapping": mapping, "votes": votes}] if finished else []
    )


VOTED = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(VOTES)), max_size=4)


@st.composite
def records(draw: st.DrawFn) -> list[Row]:
    """One to three sessions, their lines in any order that keeps each session's own."""
    parts = [
        lines_of(number, draw(VOTED), draw(st.sampled_from(["Ann", "Bob", "Ümit 3"])), draw(st.booleans()))
        for number in range(1, draw(st.integers(1, 3)) + 1)
    ]
    mixed = []
    while any(parts):
        part = draw(st.sampled_from([one for one in parts if one]))
        mixed.append(part.pop(0))
    return mixed


def written(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def finished(sessions: Sessions) -> dict[str, dict[str, str]]:
    return {one.begun.session: one.votes for one in sessions.finished}


@given(records(), st.data())
def test_any_truncation_is_read_and_counts_no_session_that_is_not_finished(
    rows: list[Row], data: st.DataObject
) -> None:
    content = written(rows)
    whole, kept = read_sessions(content), content[: data.draw(st.integers(0, len(content)))]
    cut = read_sessions(kept)
    there = {json.loads(line)["session"] for line in kept.split(b"\n")[:-1] if json.loads(line)["event"] == "reveal"}
    assert not cut.unreadable
    assert finished(cut) == {name: votes for name, votes in finished(whole).items() if name in there}
    unfinished = len(cut.records) - len(there)
    assert [note.split()[0] for note in cut.notes()] == [str(unfinished)] * bool(unfinished)  # in one note


@given(records())
def test_sessions_that_hold_are_counted(rows: list[Row]) -> None:
    sessions = read_sessions(written(rows))
    assert set(finished(sessions)) == {row["session"] for row in rows if row["event"] == "reveal"}
    for one in sessions.finished:
        assert one.left == 0 and {one.sets[item].backbone for item in one.begun.shown} == set(NAMES)


@given(records())
def test_no_line_before_the_reveal_names_a_backbone(rows: list[Row]) -> None:
    for row in rows:
        text = json.dumps(row)
        assert any(name in text for name in NAMES) == (row["event"] == "reveal")


def test_the_order_is_a_function_of_ids_and_seed_alone() -> None:
    ids = [f"{i:032x}" for i in range(6)]
    assert shuffled(ids, 5) == shuffled(reversed(ids), 5) != shuffled(ids, 6)
    assert {shuffled(ids, seed)[0] for seed in range(200)} == set(ids)


BEGIN, VOTE, LAST, REVEAL = 0, 1, 3, 4  # lines of a finished session without changed votes


@pytest.mark.parametrize(
    "line,change,why",
    [
        (REVEAL, {"salt": "0" * 64}, "not what was committed to"),
        (REVEAL, {"mapping": "{}"}, "not what was committed to"),
        (REVEAL, {"votes": "0" * 64}, "its votes are not those of its reveal"),
        (VOTE, {"vote": "clean"}, "its votes are not those of its reveal"),
        (BEGIN, {"commitment": "0" * 64}, "of another order or another commitment"),
        (BEGIN, {"seed": 77}, "not that of its seed"),
        (BEGIN, {"items": 2}, "not as many as it says"),
        (VOTE, {"seed": 77}, "of another order"),
        (VOTE, {"commitment": "0" * 64}, "another commitment"),
        (VOTE, {"item": "f" * 32}, "nothing that was shown there"),
        (VOTE, {"order": 2}, "nothing that was shown there"),
        (VOTE, {"order": 9}, "nothing that was shown there"),
        (VOTE, {"who": "Bob"}, "by somebody else"),
        (VOTE, {"vote": "maybe"}, "a line is damaged"),
        (VOTE, {"vote": "clean", "note": "x"}, "a line is damaged"),
        (VOTE, {"who": "a\x1b[2Jb"}, "a line is damaged"),
        (VOTE, {"who": "x" * 41}, "a line is damaged"),
        (VOTE, {"order": True}, "a line is damaged"),
        (VOTE, {"session": "../../etc/passwd"}, "a line is damaged"),
        (LAST, {"order": -1}, "a line is damaged"),
    ],
)
def test_a_session_that_does_not_hold_is_left_out_and_says_why(line: int, change: Row, why: str) -> None:
    rows, other = lines_of(1, []), lines_of(2, [], "Bob")
    rows[line] = rows[line] | change
    sessions = read_sessions(written(other + rows))
    assert set(finished(sessions)) == {other[0]["session"]}
    assert any(why in note for note in sessions.notes()), sessions.notes()


def test_another_mapping_needs_another_commitment() -> None:
    """Who wants another result must have known it before the first vote."""
    rows = lines_of(1, [])
    sets = {item: SampleSet(*behind) for item, behind in json.loads(rows[REVEAL]["mapping"]).items()}
    items = list(sets)
    swapped = sets | {items[0]: sets[items[1]], items[1]: sets[items[0]]}
    rows[REVEAL] |= {"mapping": mapping_text(swapped)}
    assert not read_sessions(written(rows)).finished


@pytest.mark.parametrize("same", [True, False])
def test_a_mapping_that_was_committed_to_must_still_be_one_of_the_sets_shown(same: bool) -> None:
    rows = lines_of(1, [])
    sets = {item: SampleSet(*behind) for item, behind in json.loads(rows[REVEAL]["mapping"]).items()}
    first, second, third = sets
    if same:  # one set behind two ids
        mapping = mapping_text(sets | {first: sets[second]})
    else:  # a key twice
        mapping = mapping_text(sets)[:-1] + f',"{third}":["mamba",0,0,16,"{ZERO}"]}}'
    promise = commitment(rows[REVEAL]["salt"], mapping)
    rows = [row | ({"commitment": promise} if "commitment" in row else {}) for row in rows]
    rows[REVEAL] |= {"mapping": mapping}
    sessions = read_sessions(written(rows))
    assert not sessions.finished and "not one of the sets that were shown" in sessions.notes()[0]


def test_votes_after_the_last_and_lines_after_the_reveal_spoil_a_session() -> None:
    rows = lines_of(1, [])
    for late in (
        [*rows[:REVEAL], rows[VOTE], rows[REVEAL]],
        [*rows, rows[VOTE]],
        [*rows, rows[REVEAL]],
        [*rows, rows[0]],
    ):
        sessions = read_sessions(written(late))
        assert not sessions.finished and len(sessions.notes()) == 1
    assert not read_sessions(written([*rows[:VOTE], *rows[VOTE + 1 :]])).finished  # a vote is missing


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[" * 100_000, b'{"event":' * 10_000, b"\xff\xfe", b"null", b"1" * 10_000, b'"\\ud800"']
)
def test_a_line_of_anything_is_named_and_spoils_what_was_open(line: bytes) -> None:
    done, open_ = lines_of(1, []), lines_of(2, [])
    sessions = read_sessions(written([*done, *open_[:2]]) + line + b"\n" + written(open_[2:]))
    assert set(finished(sessions)) == {done[0]["session"]}
    assert sessions.unreadable == [len(done) + 3]


@given(records(), st.binary(max_size=40), st.data())
def test_bytes_anywhere_raise_nothing(rows: list[Row], junk: bytes, data: st.DataObject) -> None:
    content = written(rows)
    place = data.draw(st.integers(0, len(content)))
    sessions = read_sessions(content[:place] + junk + content[place:])
    for one in sessions.finished:
        assert one.left == 0 and one.revealed is not None
        assert commitment(one.revealed.salt, one.revealed.mapping) == one.begun.commitment
    assert all(note.isprintable() for note in sessions.notes())
