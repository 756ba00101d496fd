"""The record of blind judging: damage, full disks, several people and programs at once; no vote is lost."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.judging import store
from bakeoff.judging.sessions import begin, cast, resume, reveal
from bakeoff.judging.tally import judge_words, judgements
from bakeoff.protocol.votes.agreement import SAMPLES, SETS, SampleSet
from bakeoff.rundir import locks
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.ledger import JUDGEMENTS
from blind import NAMES, hidden, record, vote_all


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, Path.mkdir])
def test_a_record_that_is_no_file_is_refused(run: RunDir, make) -> None:
    make(run.path / JUDGEMENTS)
    with pytest.raises(BakeoffError, match=JUDGEMENTS):
        begin(run, "Ann")


def test_a_record_too_large_is_refused(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    vote_all(run, begin(run, "Ann"))
    size = (run.path / JUDGEMENTS).stat().st_size
    monkeypatch.setattr(store, "LARGEST_RECORD", size + 100)
    with pytest.raises(BakeoffError, match="would grow beyond"):
        begin(run, "Bob")
    monkeypatch.setattr(store, "LARGEST_RECORD", size - 1)
    with pytest.raises(BakeoffError, match="larger than"):
        judgements(run)


def test_a_full_disk_leaves_no_half_line(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    session = begin(run, "Ann")
    before = record(run)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BakeoffError, match="No space left"):
            cast(run, session.id, session.shown[0], "clean")
        with pytest.raises(BakeoffError, match="No space left"):
            begin(run, "Bob")
    assert record(run) == before and len(hidden(run)) == 1
    assert cast(run, session.id, session.shown[0], "clean").votes


# ---- several people, several programs


def test_a_second_session_shows_other_samples_until_all_were_shown(run: RunDir) -> None:
    per_trial = 64 // (SAMPLES * SETS)  # sessions until all samples of a trial were shown
    seen = []
    for _ in range(per_trial):
        session = vote_all(run, begin(run, "Ann"), "clean")
        seen.append({tuple(one[2:4]) for one in json.loads(reveal(run, session.id).mapping).values()})
    assert seen[0].isdisjoint(seen[1])
    before = record(run)
    for who in ("Ann", "ANN"):
        with pytest.raises(BakeoffError, match=f"{who} has judged all samples of this run"):
            begin(run, who)
    assert record(run) == before and not hidden(run)
    found = judgements(run)
    assert found.sessions == per_trial and len(found.votes) == per_trial * len(NAMES) * SETS and not found.notes
    other = vote_all(run, begin(run, "Bob"), "noise")
    assert {tuple(one[2:4]) for one in json.loads(reveal(run, other.id).mapping).values()} == seen[0]


def test_what_an_open_session_shows_again_counts_once_and_capitals_make_no_other_person(run: RunDir) -> None:
    first = begin(run, "Ann")
    first = cast(run, first.id, first.shown[0], "clean")
    vote_all(run, begin(run, "ann"), "noise")
    vote_all(run, first, "clean")
    found = judgements(run)
    assert found.people == ["ann"] and {one.vote for one in found.votes} == {"noise"} and len(found.votes) == 6
    assert ["6 votes left out, on sets that an earlier reveal had named" in note for note in found.notes] == [True]
    assert found.agreement.people == (None, 1)


def test_agreement_with_the_judge_and_between_people(run: RunDir) -> None:
    ann = vote_all(run, begin(run, "Ann"), "noise")
    found = reveal(run, ann.id)
    assert found.agreement.judge == (1.0, None, 6)  # the smoke run makes noise, and the judge says so
    assert found.agreement.people == (None, 1)
    bob = begin(run, "Bob")
    for place, item in enumerate(bob.shown):
        bob = cast(run, bob.id, item, "clean" if place < 3 else "noise")
    found = reveal(run, bob.id)
    assert found.agreement.judge.agree == 0.5 and found.agreement.judge.votes == 6
    assert found.agreement.people.people == 2 and found.agreement.people.alpha is not None
    everybody = judgements(run)
    assert everybody.people == ["Ann", "Bob"] and everybody.agreement.judge == (
        0.75,
        everybody.agreement.judge.alpha,
        12,
    )
    assert sum(one.total for one in everybody.backbones.values()) == 12
    assert everybody.of_trial("mamba", 0).total == 4 and everybody.of_trial("mamba", 7).total == 0


def test_the_judges_word_is_of_the_set_that_is_shown(run: RunDir) -> None:
    vote_all(run, begin(run, "Ann"))
    sets = [one.seen for one in judgements(run).votes]

    def judge(one: SampleSet, items: Items) -> str:
        whole = run.trial(one.backbone, one.seed).items()["images"]
        assert np.array_equal(items["images"], whole[one.first : one.first + one.size])
        if one.backbone == "mamba":
            raise BakeoffError("cannot judge these")
        return "clean" if one.first else "noise"

    words = judge_words(run, sets, judge)
    assert words == {one: "clean" if one.first else "noise" for one in sets if one.backbone != "mamba"}


def test_sessions_of_another_run_are_left_out(run: RunDir) -> None:
    vote_all(run, begin(run, "Ann"))
    smaller = run.protocol.model_copy(update={"backbones": run.protocol.backbones[1:]})
    found = judgements(RunDir(run.path, smaller))
    assert not found.votes and "trials or samples that this run does not have" in found.notes[0]


def test_threads_share_a_session(run: RunDir) -> None:
    session = begin(run, "Ann")

    def each_twice(item: str) -> None:
        try:
            cast(run, session.id, item, "clean")
            cast(run, session.id, item, "noise")
        except BakeoffError as error:
            assert "none can be changed" in str(error)  # another thread has cast the last one

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(each_twice, session.shown))
    assert resume(run, session.id).left == 0
    assert len(judgements(run).votes) == len(session.shown) and not hidden(run)


PERSON = """
import sys
from pathlib import Path
from bakeoff.judging.sessions import begin, cast
from bakeoff.rundir.directory import RunDir
run = RunDir.open(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    session = begin(run, f"{sys.argv[2]} {number}")
    for item in session.shown:
        cast(run, session.id, item, "noise")
        print(item, flush=True)
"""


def person(run: RunDir, who: str, sessions: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PERSON, str(run.path), who, str(sessions)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_record_that_another_program_holds_is_waited_for_in_short(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    with store.writing(run):
        monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append))
        with pytest.raises(BakeoffError, match="another program is writing it; try again"):
            begin(run, "Ann")
    assert store.WAIT_S < sum(slept) < locks.WAIT_S / 2 and not record(run) and not hidden(run)


@pytest.mark.slow
def test_two_programs_write_one_record(run: RunDir) -> None:
    programs = [person(run, who, 5) for who in ("Ann", "Bob")]
    for program in programs:
        _, errors = program.communicate(timeout=120)
        assert program.returncode == 0, errors
    sessions = store.read_record(run)
    assert not sessions.unreadable and len(sessions.finished) == 10 and len(record(run).splitlines()) == 10 * 8


@pytest.mark.slow
@pytest.mark.parametrize("said", [1, 4, 6, 9])
def test_a_killed_program_loses_no_vote_that_it_was_told_of(run: RunDir, said: int) -> None:
    program = person(run, "Ann", 1000)
    assert program.stdout is not None
    told = [program.stdout.readline().strip() for _ in range(said)]
    program.kill()
    program.communicate()
    kept = {item for one in store.read_record(run).records.values() for item in one.votes}
    assert set(told) <= kept
    vote_all(run, begin(run, "Bob"))  # whatever it left, others go on
    sessions = store.read_record(run)
    assert not sessions.unreadable and any(one.begun.who == "Bob" for one in sessions.finished)
