"""Blind judging on a real run: nothing tells whose the sets are before the last vote, and no vote is lost."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.blind import commitment, shuffled
from bakeoff.protocol.people import Tally
from bakeoff.trial import locks, votelog
from bakeoff.trial.judging import (
    SAMPLES,
    SETS,
    VOTES,
    Session,
    StillOpen,
    Unreadable,
    begin,
    cast,
    judgements,
    resume,
    reveal,
)
from bakeoff.trial.ledger import verify
from bakeoff.trial.outcome import sealed_verdict
from bakeoff.trial.people import judge_words
from bakeoff.trial.recovery import tidy
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.samples import read_samples, write_samples
from bakeoff.trial.untrusted import refuse_links

NAMES = ("mamba", "transformer", "hybrid")


@pytest.fixture
def run(smoke: Path, tmp_path: Path) -> RunDir:
    return RunDir.open(Path(shutil.copytree(smoke, tmp_path / "run")))


def record(run: RunDir) -> str:
    path = run.path / votelog.NAME
    return path.read_text() if path.exists() else ""


def hidden(run: RunDir) -> list[Path]:
    return sorted(run.path.glob(".judging-*"))


def vote_all(run: RunDir, session: Session, vote: str | None = None) -> Session:
    for place, item in enumerate(session.shown):
        session = cast(run, session.id, item, vote or VOTES[place % 3])
    return session


def test_a_session_from_its_first_set_to_the_reveal(run: RunDir) -> None:
    session = begin(run, "  Ann ")
    assert (session.who, session.left, session.votes) == ("Ann", len(NAMES) * SETS, {})
    assert [item.id for item in session.items] == session.shown
    session = vote_all(run, session)
    found = reveal(run, session.id)
    assert [(one.id, one.vote) for one in found.items] == list(session.votes.items())
    assert sorted(one.backbone for one in found.items) == sorted(NAMES * SETS)
    assert (
        commitment(found.salt, found.mapping)
        == found.commitment
        == json.loads(record(run).split("\n")[0])["commitment"]
    )
    assert list(found.backbones) == list(NAMES)
    for name, counted in found.backbones.items():
        said = [one.vote for one in found.items if one.backbone == name]
        assert counted == Tally(*(said.count(vote) for vote in VOTES))
    assert reveal(run, session.id) == found  # as often as one likes
    assert not hidden(run)


def test_the_images_are_the_samples_that_the_mapping_names(run: RunDir) -> None:
    session = begin(run, "Ann")
    images = {item.id: item.images_BHW for item in session.items}
    vote_all(run, session)
    mapping = json.loads(reveal(run, session.id).mapping)
    for item, (backbone, seed, first, size, sha256) in mapping.items():
        whole = read_samples(run.trial(backbone, seed).samples, run.protocol)
        assert hashlib.sha256(whole[first : first + size].tobytes()).hexdigest() == sha256
        assert np.array_equal(images[item], whole[first : first + size]) and images[item].shape == (SAMPLES, 28, 28)
    places = {name: {tuple(row[2:4]) for row in mapping.values() if row[0] == name} for name in NAMES}
    assert places == dict.fromkeys(NAMES, frozenset({(0, SAMPLES), (SAMPLES, SAMPLES)}))  # the same for every trial


def test_nothing_names_a_backbone_before_the_last_vote(run: RunDir) -> None:
    session = begin(run, "Ann")
    for item in session.shown:
        shown = record(run) + repr(session) + json.dumps(session.shown) + str(session.votes)
        assert not any(name in shown for name in NAMES)
        with pytest.raises(StillOpen, match="votes are left") as refused:
            reveal(run, session.id)
        assert not any(name in str(refused.value) for name in NAMES)
        session = cast(run, session.id, item, "noise")
    assert all(name in record(run).split("\n")[-2] for name in NAMES)


def test_the_order_knows_nothing_of_the_mapping(run: RunDir) -> None:
    first, sessions = [], 90
    for number in range(sessions):
        session = begin(run, f"Ann {number}")
        begun = json.loads(record(run).split("\n")[-2])
        assert session.shown == begun["shown"] == shuffled(begun["shown"], begun["seed"])
        secret = json.loads((run.path / f".judging-{session.id}.json").read_text())
        first.append(json.loads(secret["mapping"])[session.shown[0]][0])
    for name in NAMES:  # each comes first in a third of the sessions; by chance this fails once in a million
        assert binomtest(first.count(name), sessions, 1 / 3).pvalue > 3e-7


def test_what_is_hidden_is_the_owners_alone_and_disturbs_nobody(run: RunDir) -> None:
    session = begin(run, "Ann")
    (path,) = hidden(run)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refuse_links(run.path)
    assert verify(run.path).outcome == "whole" and sealed_verdict(run.path)[1].outcome == "all_eliminated"
    tidy(run, lambda name, message: pytest.fail(f"{name}: {message}"))
    done = subprocess.run(
        [*COMMAND, "run", "smoke", "--resume", "--out", str(run.path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert resume(run, session.id).shown == session.shown
    vote_all(run, session)
    assert verify(run.path).outcome == "whole"


COMMAND = [sys.executable, "-m", "bakeoff"]


def test_a_restarted_program_goes_on(run: RunDir) -> None:
    session = begin(run, "Ann")
    cast(run, session.id, session.shown[0], "clean")
    again = resume(RunDir.open(run.path), session.id)
    assert (again.who, again.shown, again.votes) == ("Ann", session.shown, {session.shown[0]: "clean"})
    for mine, theirs in zip(session.items, again.items, strict=True):
        assert mine.id == theirs.id and np.array_equal(mine.images_BHW, theirs.images_BHW)


def test_a_kill_between_the_last_vote_and_its_reveal_loses_nothing(run: RunDir) -> None:
    session = begin(run, "Ann")
    (path,) = hidden(run)
    secret = path.read_bytes()
    vote_all(run, session)
    log = run.path / votelog.NAME
    *lines, last = log.read_bytes().splitlines(keepends=True)
    path.write_bytes(secret)
    log.write_bytes(b"".join(lines) + last[:70])  # torn
    assert not judgements(run).votes
    assert resume(run, session.id).left == 0
    assert len(reveal(run, session.id).items) == len(session.shown)
    assert log.read_bytes().count(b"\n") == len(lines) + 1 and judgements(run).sessions == 1 and not hidden(run)


def test_a_vote_is_changed_until_the_last_one(run: RunDir) -> None:
    session = begin(run, "Ann")
    first, *others = session.shown
    for vote in ("clean", "noise", "unsure", "noise"):
        assert cast(run, session.id, first, vote).votes == {first: vote}
    for item in others:
        session = cast(run, session.id, item, "clean")
    for item in (first, others[-1]):
        with pytest.raises(BakeoffError, match="none can be changed"):
            cast(run, session.id, item, "clean")
    assert reveal(run, session.id).items[0].vote == "noise"
    assert len(judgements(run).votes) == len(session.shown)


@pytest.mark.parametrize("who", ["", "  ", "x" * 41, "a\nb", "a\x1b[2J", "\ud800", "a\u202eb"])
def test_an_impossible_name_is_refused(run: RunDir, who: str) -> None:
    with pytest.raises(BakeoffError, match="give a name of 1 to 40 printable characters") as refused:
        begin(run, who)
    str(refused.value).encode()
    assert not record(run) and not hidden(run)


@pytest.mark.parametrize("session", ["", "../../../etc/passwd", "0" * 32, "x\0", "a" * 10_000, "\ud800"])
def test_an_unknown_session_is_refused_and_makes_no_file(run: RunDir, session: str) -> None:
    for ask in (resume, reveal, lambda run, name: cast(run, name, "0" * 32, "clean")):
        with pytest.raises(BakeoffError, match="no such session") as refused:
            ask(run, session)
        str(refused.value).encode()
    assert not (run.path / votelog.NAME).exists()


def test_an_unknown_item_or_vote_is_refused_and_changes_nothing(run: RunDir) -> None:
    session = begin(run, "Ann")
    before = record(run)
    for item, vote, said in (
        ("0" * 32, "clean", "nothing that this"),
        (session.shown[0], "maybe", "allowed: clean, noi"),
    ):
        with pytest.raises(BakeoffError, match=said):
            cast(run, session.id, item, vote)
    assert record(run) == before


def test_there_must_be_something_to_judge(run: RunDir) -> None:
    for trial, document in [(one, json.loads(one.measurement_file.read_text())) for one in run.trials()][:2]:
        document |= {"status": "diverged", "diverged_at_step": 3}
        trial.measurement_file.write_text(json.dumps(document))
    assert len(begin(run, "Ann").shown) == SETS  # of the one that completed
    shutil.rmtree(run.trial("hybrid", 0).path)
    with pytest.raises(BakeoffError, match="no samples to judge; of 3 trials 2 diverged and 1 are not finished"):
        begin(run, "Bob")


def test_samples_that_cannot_be_read_leave_nothing_behind(run: RunDir) -> None:
    run.trial("mamba", 0).samples.write_bytes(b"x")
    with pytest.raises(Unreadable, match="bakeoff verify") as refused:
        begin(run, "Ann")
    assert not any(name in str(refused.value) for name in NAMES)
    assert not record(run) and not hidden(run)


def test_a_session_whose_samples_have_changed_is_not_shown_and_another_is_begun(run: RunDir) -> None:
    session = begin(run, "Ann")
    samples = run.trial("mamba", 0).samples
    write_samples(samples, torch.zeros(64, 28, 28, dtype=torch.uint8), None)
    with pytest.raises(Unreadable, match="2 of 6 sets"):
        _ = resume(run, session.id).items
    assert begin(run, "Ann").id != session.id


def test_who_begins_again_without_a_vote_goes_on_with_the_same_session(run: RunDir) -> None:
    session = begin(run, "Ann")
    for who in ("Ann", "ann", "ANN "):
        again = begin(run, who)
        assert (again.id, again.who, again.shown) == (session.id, "Ann", session.shown)
    other = begin(run, "Bob")
    cast(run, session.id, session.shown[0], "clean")
    assert len({session.id, other.id, begin(run, "Ann").id}) == 3
    assert len(hidden(run)) == 3 and judgements(run).notes == ["3 sessions left out: not finished"]
    (path,) = run.path.glob(f".judging-{other.id}.json")
    path.unlink()
    assert begin(run, "Bob").id != other.id  # what was behind it is lost


@pytest.mark.parametrize("damage", [None, b"", b"{}", b'{"salt": "0", "mapping": "{}"}', b"[" * 100_000])
def test_a_session_whose_secret_is_lost_says_so_and_takes_no_votes(run: RunDir, damage: bytes | None) -> None:
    session = begin(run, "Ann")
    (path,) = hidden(run)
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    before = record(run)
    for ask in (resume, lambda run, name: cast(run, name, session.shown[0], "clean")):
        with pytest.raises(BakeoffError, match="begin a new session"):
            ask(run, session.id)
    assert record(run) == before


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, Path.mkdir])
def test_a_record_that_is_no_file_is_refused(run: RunDir, make) -> None:
    make(run.path / votelog.NAME)
    with pytest.raises(BakeoffError, match=votelog.NAME):
        begin(run, "Ann")


def test_a_record_too_large_is_refused(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    vote_all(run, begin(run, "Ann"))
    size = (run.path / votelog.NAME).stat().st_size
    monkeypatch.setattr(votelog, "LARGEST", size + 100)
    with pytest.raises(BakeoffError, match="would grow beyond"):
        begin(run, "Bob")
    monkeypatch.setattr(votelog, "LARGEST", size - 1)
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
    words = judge_words(run, [])
    assert words == {}
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
from bakeoff.trial.judging import begin, cast
from bakeoff.trial.rundir import RunDir
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
    with votelog.writing(run):
        monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append))
        with pytest.raises(BakeoffError, match="another program is writing it; try again"):
            begin(run, "Ann")
    assert votelog.WAIT_S < sum(slept) < locks.WAIT_S / 2 and not record(run) and not hidden(run)


def test_two_programs_write_one_record(run: RunDir) -> None:
    programs = [person(run, who, 5) for who in ("Ann", "Bob")]
    for program in programs:
        _, errors = program.communicate(timeout=120)
        assert program.returncode == 0, errors
    sessions = votelog.read_record(run)
    assert not sessions.unreadable and len(sessions.finished) == 10 and len(record(run).splitlines()) == 10 * 8


@pytest.mark.parametrize("said", [1, 4, 6, 9])
def test_a_killed_program_loses_no_vote_that_it_was_told_of(run: RunDir, said: int) -> None:
    program = person(run, "Ann", 1000)
    assert program.stdout is not None
    told = [program.stdout.readline().strip() for _ in range(said)]
    program.kill()
    program.communicate()
    kept = {item for one in votelog.read_record(run).records.values() for item in one.votes}
    assert set(told) <= kept
    vote_all(run, begin(run, "Bob"))  # whatever it left, others go on
    sessions = votelog.read_record(run)
    assert not sessions.unreadable and any(one.begun.who == "Bob" for one in sessions.finished)
