"""Real runs killed at random points, taken up again, and compared bit for bit with one that nothing interrupted.

BAKEOFF_KILLS is the number of kills that must have hit a living process, in the slow tier; `make kills` makes 200.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tiers import slow
from tiny_run import TRIAL, results, start

KILLS = int(os.environ.get("BAKEOFF_KILLS", "20"))
SIDE_BY_SIDE = 2
GIVE_UP_S = 120.0
CLEAN = (signal.SIGTERM, signal.SIGINT)  # the command stops by itself after these

Moment = Callable[[Path, random.Random], Callable[[], bool]]


def after(most_s: float) -> Moment:
    """At a random time from the start of the command."""

    def moment(out: Path, chance: random.Random) -> Callable[[], bool]:
        until = time.monotonic() + chance.uniform(0, most_s)
        return lambda: time.monotonic() >= until

    return moment


def once(name: str, most_s: float) -> Moment:
    """At a random time from when the file is written, or written again."""

    def moment(out: Path, chance: random.Random) -> Callable[[], bool]:
        path, wait = out / name, chance.uniform(0, most_s)
        before, seen = _written(path), []

        def due() -> bool:
            if not seen and _written(path) != before:
                seen.append(time.monotonic())
            return bool(seen) and time.monotonic() >= seen[0] + wait

        return due

    return moment


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


MOMENTS: dict[str, Moment] = {
    "starting": after(3.0),
    "any time": after(8.0),
    "the worker's start": once("environment.json", 2.5),
    "training": once(f"trials/{TRIAL}/metrics.jsonl", 1.0),
    "a checkpoint": once(f"trials/{TRIAL}/resume.ckpt", 0.4),
    "sampling": once(f"trials/{TRIAL}/samples.npz", 0.02),
    "writing": once(f"trials/{TRIAL}/grid.png", 0.02),
    "measured": once(f"trials/{TRIAL}/measurement.json", 0.05),
    "the probes": once("samples.png", 3.5),
    "the verdict": once("probes/sampling_time.json", 0.1),
}
AFTER_THE_TRIAL = ("starting", "the worker's start", "the probes", "the verdict")
WHOM = ["all", "all", "all", "the worker", "the command", "SIGTERM", "SIGINT"]


class Count:
    """Kills that hit, by what was hit and when; shared by the threads."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.moments, self.whom, self.whole = wanted, Counter[str](), Counter[str](), 0
        self._lock = threading.Lock()

    @property
    def hits(self) -> int:
        return sum(self.whom.values())

    @property
    def enough(self) -> bool:
        return self.hits >= self.wanted

    def hit(self, moment: str, whom: str) -> None:
        with self._lock:
            self.moments[moment] += 1
            self.whom[whom] += 1

    def __str__(self) -> str:
        def table(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in counts.most_common())

        return (
            f"{self.hits} kills in {self.whole} runs, every run bit for bit as without\n"
            f"  whom: {table(self.whom)}\n  when: {table(self.moments)}"
        )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:
        return []


def strike(process: subprocess.Popen[str], whom: str) -> bool:
    """Whether a living process was hit."""
    workers = workers_of(process)
    if process.poll() is not None or (whom == "the worker" and not workers):
        return False
    if whom in ("SIGTERM", "SIGINT"):
        process.send_signal(signal.Signals[whom])
    if whom in ("all", "the command"):
        process.kill()
    if whom in ("all", "the worker"):
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=GIVE_UP_S)
    hit = process.returncode != 0
    if hit and whom == "the worker":
        assert process.returncode == 1 and "SIGKILL" in errors and "--resume" in errors, errors
    if hit and whom in ("SIGTERM", "SIGINT"):
        # by itself; before it had begun to listen; or in exec() of a text, which CPython makes death by SIGINT
        assert process.returncode in (1, -signal.Signals[whom], -signal.SIGINT), errors
    return hit


def run_through_kills(out: Path, chance: random.Random, count: Count) -> None:
    """One run from its start to its end, killed wherever chance has it until there are enough kills."""
    while True:
        process = start(out, "--resume")
        ahead = AFTER_THE_TRIAL if (out / "trials" / TRIAL / "measurement.json").exists() else list(MOMENTS)
        moment, whom = chance.choice(ahead), chance.choice(WHOM)
        due, began = MOMENTS[moment](out, chance), time.monotonic()
        while process.poll() is None and not (due() and not count.enough):
            assert time.monotonic() < began + GIVE_UP_S
            time.sleep(0.002)
        if process.poll() is None and strike(process, whom):
            count.hit(moment, whom)
            continue
        _, errors = process.communicate(timeout=GIVE_UP_S)
        if "another run is working" in errors:  # an orphan on a busy machine
            continue
        assert process.returncode == 0 and "Traceback" not in errors, errors
        return


@pytest.mark.parametrize("kills", [1, slow(KILLS)])
def test_no_kill_at_any_moment_changes_a_bit(
    tmp_path: Path, undisturbed: dict[str, object], capsys, kills: int
) -> None:
    count, failures = Count(kills), []

    def go_on(lane: int) -> None:
        chance, turn = random.Random(1000 * lane + kills), 0
        try:
            while not count.enough:
                out = tmp_path / f"run-{lane}-{turn}"
                run_through_kills(out, chance, count)
                assert results(out) == undisturbed, f"{out} ended otherwise"
                count.whole, turn = count.whole + 1, turn + 1
        except BaseException as error:
            failures.append(error)
            count.wanted = 0

    lanes = [threading.Thread(target=go_on, args=(lane,)) for lane in range(min(kills, SIDE_BY_SIDE))]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    if failures:
        raise failures[0]
    with capsys.disabled():
        print(f"\n{count}")
    assert count.hits >= kills
