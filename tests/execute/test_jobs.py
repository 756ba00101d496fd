"""Several trials at once: the same bits as one after the other, stopped together, and nothing lost."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from bakeoff.cli.progress import Show
from bakeoff.errors import BakeoffError
from bakeoff.execute.local import Interrupted, Job, Options, TrialFailed, run_jobs
from bakeoff.execute.runner import execute, prepare
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.trial.events import Event, Sampling, Started, Stepped, Stopping
from command import bakeoff
from tiny_run import SETS

WORKER = '''
"""Stands for a trial: says that it began, waits for the files that it is told, and ends as it is told."""
import json, signal, sys, time
from pathlib import Path
run, name, waits, code = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
signal.signal(signal.SIGTERM, lambda *_: (run.joinpath(name + ".stopped").touch(), sys.exit(75)))
print(json.dumps({"event": "Started", "step": 0, "total": 1}), flush=True)
run.joinpath(name + ".began").touch()
while not all(run.joinpath(one + ".began").exists() for one in waits.split(",") if one):
    time.sleep(0.01)
if code < 0:
    time.sleep(60)
if code == 2:
    print(json.dumps({"event": "Failed", "message": "refused"}), flush=True)
print("last words", file=sys.stderr)
sys.exit(code)
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/standin.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run", load_protocol("smoke"))


def job(name: str, waits_for: str = "", code: int = 0) -> Job:
    return Job(name, "standin", [name, waits_for, str(code)])


def ended(run: RunDir, jobs: Iterator[Job], at_once: int, heard: list[tuple[str, Event]]) -> Iterator[str]:
    lock = os.open(run.path / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        yield from run_jobs(run, jobs, Options(jobs=at_once), lambda *event: heard.append(event), lock)
    finally:
        os.close(lock)


def test_as_many_as_asked_are_at_work_and_each_is_given_when_it_is_done(run: RunDir) -> None:
    """a ends only after c has begun, so that b must have ended, and been given, before."""
    begun: list[str] = []

    def jobs() -> Iterator[Job]:
        for one in (job("a", "c"), job("b"), job("c")):
            begun.append(one.name)
            yield one

    heard: list[tuple[str, Event]] = []
    given = ended(run, jobs(), 2, heard)
    assert next(given) == "b" and begun == ["a", "b"]
    assert sorted(given) == ["a", "c"]
    assert sorted(heard, key=str) == sorted(((name, Started(0, 1)) for name in "abc"), key=str)


def test_one_at_a_time_are_in_order(run: RunDir) -> None:
    assert list(ended(run, iter([job("a"), job("b")]), 1, [])) == ["a", "b"]


@pytest.mark.parametrize(
    "code,error,said",
    [
        (2, BakeoffError, "refused"),
        (3, TrialFailed, "process of b ended with exit code 3.\nlast words"),
        (75, Interrupted, "nothing is lost"),
    ],
)
def test_when_one_fails_the_others_are_stopped_and_waited_for(run: RunDir, code: int, error, said: str) -> None:
    with pytest.raises(error, match=said):
        list(ended(run, iter([job("a", code=-1), job("b", "a", code), job("c")]), 2, []))
    assert (run.path / "a.stopped").exists() and not (run.path / "c.began").exists()


def test_where_none_can_be_given_those_at_work_are_waited_for(run: RunDir) -> None:
    def jobs() -> Iterator[Job]:
        yield job("a")
        raise BakeoffError("no room")

    given = ended(run, jobs(), 2, [])
    assert next(given) == "a"
    with pytest.raises(BakeoffError, match="no room"):
        next(given)


def test_whoever_stops_listening_stops_the_work(run: RunDir) -> None:
    given = ended(run, iter([job("a", code=-1), job("b", "a")]), 2, [])
    assert next(given) == "b"
    given.close()  # type: ignore[attr-defined]
    assert (run.path / "a.stopped").exists()


def test_the_user_stops_all_of_them(run: RunDir) -> None:
    heard: list[tuple[str, Event]] = []

    def listen(name: str, event: Event) -> None:
        heard.append((name, event))
        if sum(isinstance(one, Started) for _, one in heard) == 2 and isinstance(event, Started):
            raise KeyboardInterrupt

    lock = os.open(run.path / ".lock", os.O_RDWR | os.O_CREAT)
    with pytest.raises(Interrupted):
        list(run_jobs(run, iter([job("a", code=-1), job("b", code=-1)]), Options(jobs=2), listen, lock))
    os.close(lock)
    assert {name for name, event in heard if isinstance(event, Stopping)} == {"a", "b"}
    assert (run.path / "a.stopped").exists() and (run.path / "b.stopped").exists()


@pytest.mark.parametrize("style", ["text", "bar"])
def test_the_progress_of_each_is_shown(style: str) -> None:
    out = io.StringIO()
    show = Show(Console(file=out, width=100, force_terminal=style == "bar"), style)
    for name, event in (
        ("a", Started(0, 10)),
        ("b", Started(4, 10)),
        ("b", Stepped(5, 1.5)),
        ("a", Sampling()),
        ("b", Stopping()),
        ("a", Stepped(3, 2.5)),
    ):
        show(name, event)
    show.close()
    said = out.getvalue()
    assert "b: stopping" in said and ("a: 10 steps\nb: 10 steps, taken up at step 4" in said) == (style == "text")


def test_cores_are_shared_out() -> None:
    from bakeoff.execute.local import cores

    assert Options().threads_each == 0 and Options(threads=3, jobs=4).threads_each == 3
    assert Options(jobs=2).threads_each == max(1, cores() // 2)
    assert Options(jobs=10_000).threads_each == 1


def test_a_gpu_is_not_shared(run: RunDir) -> None:
    with pytest.raises(BakeoffError, match="2 jobs on cuda: several at once are allowed on the CPU alone"):
        execute(run, Options(device="cuda", jobs=2), lambda *_: None)


def outcome(out: Path) -> dict[str, object]:
    """What must not depend on how many trials are at work at once."""
    trials = sorted((out / "trials").iterdir())
    return {
        one.name: (
            (one / "metrics.jsonl").read_bytes(),
            (one / "model.safetensors").read_bytes(),
            (one / "samples.npz").read_bytes(),
            json.loads((one / "measurement.json").read_text())["quality"],
        )
        for one in trials
    } | {"picture": (out / "samples.png").read_bytes()}


@pytest.mark.slow
def test_two_at_once_give_the_same_bits_as_one_and_a_whole_run(tmp_path: Path) -> None:
    sets = [part for one in (*SETS, "seeds=[0, 1, 2]") for part in ("--set", one)]
    for name, jobs in (("one", 1), ("two", 2)):
        done = bakeoff("run", "smoke", *sets, "--out", tmp_path / name, "--threads", 1, "--jobs", jobs)
        assert done.returncode == 0, done.stderr
        assert bakeoff("verify", tmp_path / name).returncode == 0
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    assert json.loads((tmp_path / "two/environment.json").read_text())["jobs"] == 2


@pytest.mark.slow
def test_two_that_are_stopped_go_on_and_end_alike(tmp_path: Path) -> None:
    protocol = load_protocol("smoke", [*SETS, "seeds=[0, 1]"])

    def hear(name: str, event: Event) -> None:
        begun = [one for one in (tmp_path / "run/trials").glob("*/resume.ckpt")]
        if len(begun) == 2:
            raise KeyboardInterrupt

    options = Options(threads=1, jobs=2, checkpoint_every_s=0)
    with pytest.raises(KeyboardInterrupt):
        execute(prepare(tmp_path / "run", protocol, resume=False), options, hear)
    assert len(list((tmp_path / "run/trials").glob("*/resume.ckpt"))) == 2
    execute(prepare(tmp_path / "run", protocol, resume=True), options, lambda *_: None)
    execute(prepare(tmp_path / "whole", protocol, resume=False), Options(threads=1), lambda *_: None)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
