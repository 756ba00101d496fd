"""Disks that are full or read-only: real ones where this user may mount, and a real limit on file sizes everywhere."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import moments
from bakeoff.errors import BakeoffError
from bakeoff.execute import estimate
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir import disk
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import write_atomic
from bakeoff.trial.plan import make_plan
from tiny_run import TRIAL, finish, results


def limit(size: int) -> Callable[[], None]:
    """No file may grow beyond this; the kernel then fails the write, as a full disk does."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def refuse_and_say(out: Path, size: int, *more: str) -> str:
    code, errors = finish(out, *more, prepare=limit(size))
    assert code == 1 and "Traceback" not in errors, errors
    assert "File too large" in errors and "The last checkpoint is whole; go on with: bakeoff run smoke" in errors
    assert not [path for path in out.rglob(".*.tmp")]
    return errors


@pytest.mark.slow
def test_a_write_that_fails_at_any_stage_stops_the_run_with_a_message_and_resume_goes_on(
    tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    out = tmp_path / "run"
    trial = out / "trials" / TRIAL
    assert "resume.ckpt" in refuse_and_say(out, 100_000)  # the first checkpoint
    assert (out / "seal.json").is_file() and [path.name for path in trial.iterdir()] == ["metrics.jsonl"]
    die_at_a_checkpoint(out, tmp_path / "hook", "--resume")
    kept = [(trial / name).read_bytes() for name in ("resume.ckpt", "resume.prev.ckpt")]
    assert "resume.ckpt" in refuse_and_say(out, 100_000, "--resume")  # a later one: those before it stand
    assert kept == [(trial / name).read_bytes() for name in ("resume.ckpt", "resume.prev.ckpt")]
    assert finish(out, "--resume")[0] == 0
    assert results(out) == undisturbed


@pytest.mark.slow
def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    code, errors = finish(tmp_path / "run", prepare=limit(10))
    assert code == 2 and "cannot be written (File too large)" in errors and "Traceback" not in errors


def test_a_run_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = load_protocol("smoke")
    plan, run = make_plan(protocol), RunDir(tmp_path / "run", protocol)
    params = max(one.fit.params for one in plan.backbones)
    monkeypatch.setattr(estimate, "free_bytes", lambda _: disk.RESERVE + 3 * 4 * params)
    with pytest.raises(BakeoffError, match=r"17 MiB free on its disk, the run needs 21 MiB"):
        estimate.require_room_for(run, plan)
    monkeypatch.setattr(estimate, "free_bytes", lambda _: disk.RESERVE + 32 * 4 * params)
    estimate.require_room_for(run, plan)


@pytest.mark.slow
def test_the_estimate_bounds_what_a_run_writes(tmp_path: Path) -> None:
    """Of the real files of a real trial, with a checkpoint in place."""
    out = tmp_path / "run"
    die_at_a_checkpoint(out, tmp_path / "hook")
    protocol = RunDir.open(out).protocol
    (planned,) = make_plan(protocol).backbones
    bound = estimate.checkpoint_bytes(planned.fit, protocol)
    written = (out / "trials" / TRIAL / "resume.ckpt").stat().st_size
    assert 0.9 * bound < written < bound + disk.RESERVE / estimate.CHECKPOINTS / 10
    assert disk.free_bytes(out) == disk.free_bytes(out / "not/there/yet")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", where], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "opened, leave",
    [
        pytest.param(".", 1 << 20, id="between two checkpoints"),
        pytest.param(".resume.ckpt.tmp", 1 << 16, id="when one has been allowed and is not written yet"),
    ],
)
def test_a_disk_that_fills_up_stops_the_run_and_room_lets_it_go_on(
    small_disk: Path, tmp_path: Path, undisturbed: dict[str, object], opened: str, leave: int
) -> None:
    out, filler = small_disk / "run", small_disk / "filler"
    trial, free = out / "trials" / TRIAL, disk.mib(leave)
    filling = moments.fill(filler, leave)
    environment = moments.when(trial / opened, trial / "resume.prev.ckpt", filling, tmp_path / "hook")
    code, errors = finish(out, environment=environment)
    assert code == 1 and "Traceback" not in errors
    assert f"resume.ckpt: No space left on device: {free} free, 17 MiB needed" in errors and "go on with" in errors
    assert not [path for path in out.rglob(".*.tmp")]
    code, errors = finish(out, "--resume")
    assert code == 2 and f"{free} free on its disk" in errors
    filler.unlink()
    assert finish(out, "--resume")[0] == 0
    assert results(out) == undisturbed


def test_a_write_on_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    write_atomic(small_disk / "x", b"old")
    with open(small_disk / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, (disk.free_bytes(small_disk) or 0) - (1 << 16))
    with pytest.raises(OSError, match="No space left on device: 0 MiB free, 16 MiB needed") as error:
        write_atomic(small_disk / "x", b"new" * (1 << 16))
    assert error.value.errno == errno.ENOSPC and (small_disk / "x").read_bytes() == b"old"
    assert {path.name for path in small_disk.iterdir()} == {"x", "filler"}


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_is_said(small_disk: Path, tmp_path: Path) -> None:
    out = small_disk / "run"
    die_at_a_checkpoint(out, tmp_path / "hook")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for folder, more, expected in ((out, ["--resume"], 1), (small_disk / "other", [], 2)):
        code, errors = finish(folder, *more)
        assert code == expected and "Read-only file system" in errors and "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    code, errors = finish(tmp_path / "run")
    assert code == 2 and "cannot be written (Permission denied)" in errors


def die_at_a_checkpoint(out: Path, hook: Path, *more: str) -> None:
    """Leaves a run whose trial was killed in the midst of training, right when its second checkpoint had its name."""
    trial = out / "trials" / TRIAL
    environment = moments.when(trial, trial / "resume.prev.ckpt", moments.DIE, hook)
    code, errors = finish(out, *more, environment=environment)
    assert code == 1 and "SIGKILL" in errors, errors
