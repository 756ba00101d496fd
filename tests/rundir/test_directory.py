"""Atomic writes: the old content or the new, never a part, whatever fails; nothing is written through a link."""

import errno
import os
from pathlib import Path

import pytest

from bakeoff.rundir.files import write_atomic

CALLS = ("open", "os.fsync", "os.replace", "sync_folder")


@pytest.mark.parametrize("failing", CALLS)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_whole_old_or_the_whole_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)) as caught:
        patch.setattr(f"bakeoff.rundir.files.{failing}", fail, raising=False)
        write_atomic(path, b"new")
    assert path.read_bytes() == (b"new" if failing == "sync_folder" else b"old")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path) and "No space left" in str(caught.value)


def test_file_and_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    write_atomic(tmp_path / "x", b"new")
    assert calls == [str(tmp_path / ".x.tmp"), "rename", str(tmp_path)]


def test_the_file_before_is_kept_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, keep = tmp_path / "x", tmp_path / "x.prev"
    for content in (b"1", b"2", b"3"):
        write_atomic(path, content, keep)
    assert path.read_bytes() == b"3" and keep.read_bytes() == b"2"
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"rotten")
    with pytest.raises(OSError, match="reads back otherwise"):
        write_atomic(path, b"4", keep)
    monkeypatch.undo()
    assert path.read_bytes() == b"3" and keep.read_bytes() == b"2"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("x", ".x.tmp"):
        (run / name).symlink_to(outside)
    write_atomic(run / "x", b"new")
    assert outside.read_bytes() == b"mine" and (run / "x").read_bytes() == b"new"
    assert not (run / "x").is_symlink()
