"""Blind judging on a real run: nothing tells whose the sets are before the last vote, and no vote is lost."""

import hashlib
import json
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binomtest

from bakeoff.artefacts.base import Items
from bakeoff.artefacts.text import Text
from bakeoff.errors import BakeoffError
from bakeoff.judging.sessions import StillOpen, Unreadable, begin, cast, resume, reveal
from bakeoff.judging.tally import judgements
from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.protocol.votes.agreement import SAMPLES, SETS, VOTES, Tally
from bakeoff.protocol.votes.sessions import commitment, shuffled
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import write_atomic
from bakeoff.rundir.ledger import JUDGEMENTS
from bakeoff.rundir.repair import repair
from bakeoff.rundir.untrusted import refuse_links
from bakeoff.rundir.verify import verify
from blind import NAMES, black, hidden, record, vote_all


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
    images = {item.id: item.items["images"] for item in session.items}
    vote_all(run, session)
    mapping = json.loads(reveal(run, session.id).mapping)
    for item, (backbone, seed, first, size, sha256) in mapping.items():
        whole = run.trial(backbone, seed).items()["images"]
        assert hashlib.sha256(whole[first : first + size].tobytes()).hexdigest() == sha256
        assert np.array_equal(images[item], whole[first : first + size]) and images[item].shape == (SAMPLES, 28, 28)
    places = {name: {tuple(row[2:4]) for row in mapping.values() if row[0] == name} for name in NAMES}
    assert places == dict.fromkeys(NAMES, frozenset({(0, SAMPLES), (SAMPLES, SAMPLES)}))  # the same for every trial


def test_people_judge_items_of_any_kind(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDir, "kind", Text())
    for trial in run.trials():
        texts = np.array([f"{trial.seed} + {i} = {i}" for i in range(run.protocol.samples_drawn)])
        trial.samples.write_bytes(Text().pack(Items({"text": texts})))
    session = begin(run, "Ann")
    for item in session.items:
        assert item.items["text"].shape == (SAMPLES,)
        assert item.picture().tobytes() == Text().sheet(item.items, 4).tobytes()
    found = reveal(run, vote_all(run, session).id)
    assert found.agreement.judge == (None, None, 0)  # the judge of digits has no word on texts
    assert judgements(run).notes == [] and len(judgements(run).votes) == len(session.shown)
    run.trial("mamba", 0).samples.write_bytes(Text().pack(Items({"text": np.array(["x"] * 64)})))
    assert judgements(run).notes == ["mamba-s0: 2 votes left out: its samples are no longer those that were judged"]


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


@pytest.mark.slow
def test_what_is_hidden_is_the_owners_alone_and_disturbs_nobody(run: RunDir) -> None:
    session = begin(run, "Ann")
    (path,) = hidden(run)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refuse_links(run.path)
    assert verify(run.path).outcome == "whole" and sealed_verdict(run.path)[1].outcome == "all_eliminated"
    repair(run, lambda name, message: pytest.fail(f"{name}: {message}"))
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
        assert mine.id == theirs.id and np.array_equal(mine.items["images"], theirs.items["images"])


def test_a_kill_between_the_last_vote_and_its_reveal_loses_nothing(run: RunDir) -> None:
    session = begin(run, "Ann")
    (path,) = hidden(run)
    secret = path.read_bytes()
    vote_all(run, session)
    log = run.path / JUDGEMENTS
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
    assert not (run.path / JUDGEMENTS).exists()


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
    write_atomic(samples, black(64))
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
