"""Where the protocol names human judgement, the verdict waits for votes; elsewhere they decide nothing."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bakeoff.judging.sessions import begin, cast
from bakeoff.judging.verdicts import sealed_verdict, verdict_of
from bakeoff.report import write_report
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import write_atomic
from bakeoff.rundir.ledger import read_ledger
from bakeoff.rundir.verify import verify
from blind import black
from command import bakeoff
from tiny_run import SETS

pytestmark = pytest.mark.slow

HUMAN = [part for one in [*SETS, "bar.measure=human", "bar.votes=2", "bar.clean=0.5"] for part in ("--set", one)]
RUN = ["run", "smoke", *HUMAN, "--threads", 1, "--progress", "text"]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("human") / "run"
    done = bakeoff(*RUN, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "the verdict waits for 2 votes a trial" in done.stdout
    assert "Verdict: incomplete: 1 trial waits for human judgements." in done.stdout
    return out


@pytest.fixture
def run(waiting: Path, tmp_path: Path) -> RunDir:
    return RunDir.open(Path(shutil.copytree(waiting, tmp_path / "run")))


def judge(run: RunDir, who: str, vote: str) -> None:
    session = begin(run, who)
    for item in session.shown:
        cast(run, session.id, item, vote)


def test_it_waits_and_says_for_what(run: RunDir) -> None:
    done = bakeoff("verdict", run.path, "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["missing"] == ["human judgements of hybrid-s0 (0 of 2 votes)"]
    assert "`bakeoff studio DIR`, page /judge" in verdict["notes"][0]
    assert verdict["backbones"]["hybrid"]["figures"]["loss"] is not None  # what was measured is shown
    shown = bakeoff("verdict", run.path).stdout
    assert "waits" in shown and "0 of 2 votes" in shown
    found = verify(run.path)
    assert found.outcome == "whole" and any("judgements.jsonl" in one and "not there yet" in one for one in found.notes)


def test_an_open_session_is_not_counted(run: RunDir) -> None:
    session = begin(run, "Ann")
    cast(run, session.id, session.shown[0], "clean")
    _, verdict = sealed_verdict(run.path)
    assert verdict.outcome == "incomplete" and "0 of 2 votes" in verdict.missing[0]
    assert "1 session left out: not finished" in verdict.notes


def test_then_people_decide(run: RunDir) -> None:
    judge(run, "Ann", "clean")
    _, verdict = sealed_verdict(run.path)
    assert (verdict.outcome, verdict.winner) == ("winner", "hybrid")  # though the automatic judge sees noise
    sha256 = hashlib.sha256((run.path / "judgements.jsonl").read_bytes()).hexdigest()
    assert any(sha256 in note and "outside the seal" in note for note in verify(run.path).notes)
    (seed,) = verdict.backbones["hybrid"].seeds
    assert [(check.name, check.observed, check.threshold) for check in seed.checks] == [
        ("votes", 2, 2),
        ("share clean", 1, 0.5),
    ]
    judge(run, "Bob", "noise")
    assert sealed_verdict(run.path)[1].outcome == "winner"  # half of them: at least
    judge(run, "Eve", "unsure")
    assert sealed_verdict(run.path)[1].outcome == "all_eliminated"


def test_a_vote_that_was_edited_counts_no_more(run: RunDir) -> None:
    judge(run, "Ann", "noise")
    assert sealed_verdict(run.path)[1].outcome == "all_eliminated"
    path = run.path / "judgements.jsonl"
    path.write_text(path.read_text().replace('"vote": "noise"', '"vote": "clean"'))
    _, verdict = sealed_verdict(run.path)
    assert verdict.outcome == "incomplete"
    assert any("its votes are not those of its reveal" in note for note in verdict.notes)


def remade(path: Path) -> None:
    write_atomic(path, black(32))


@pytest.mark.parametrize(
    "change,why",
    [
        (remade, "are no longer those that were judged"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b"x"), "cannot be read"),
    ],
)
def test_votes_count_for_the_images_that_they_were_given_for(run: RunDir, change: Any, why: str) -> None:
    judge(run, "Ann", "clean")
    assert verdict_of(run).outcome == "winner"
    change(run.trial("hybrid", 0).samples)
    verdict = verdict_of(run)
    assert verdict.outcome == "incomplete" and f"hybrid-s0: 2 votes left out: its samples {why}" in verdict.notes


def test_resuming_writes_the_verdict_that_people_have_given(run: RunDir) -> None:
    assert json.loads(run.verdict.read_text())["outcome"] == "incomplete"
    judge(run, "Ann", "clean")
    done = bakeoff(*RUN, "--resume", "--out", run.path)
    assert done.returncode == 0, done.stderr
    assert "Verdict: hybrid wins" in done.stdout
    assert json.loads(run.verdict.read_text())["winner"] == "hybrid"
    assert verify(run.path).outcome == "whole" and "judgements.jsonl" not in read_ledger(run.path).files


def test_the_report_says_who_decides(run: RunDir) -> None:
    judge(run, "Ann", "clean")
    judge(run, "<b>Bob</b>", "clean")
    text = write_report(run.path).read_text()
    assert "They decide the quality bar." in text and "People decide the bar" in text
    assert "4 votes of 2 people (Ann, &lt;b&gt;Bob&lt;/b&gt;) in 2 blind sessions" in text and "<b>Bob" not in text
    markdown = (run.path / "report/report.md").read_text()
    assert "| hybrid | 4 | 0 | 0 | 1 |" in markdown and "<b>" not in markdown


def test_votes_decide_nothing_where_the_automatic_judge_does(smoke: Path, tmp_path: Path) -> None:
    run = RunDir.open(Path(shutil.copytree(smoke, tmp_path / "run")))
    before = sealed_verdict(run.path)[1]
    judge(run, "Ann", "clean")
    assert sealed_verdict(run.path)[1] == before
    (run.path / "judgements.jsonl").write_bytes(b"\xff not a record\n")
    assert sealed_verdict(run.path)[1] == before
    text = write_report(run.path).read_text()
    assert "None in this run directory." in text and "lines that cannot be read: 1" in text
