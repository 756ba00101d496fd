"""The code's version in a seal: with a commit where git tracks the package, and without one where it does not."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from bakeoff.protocol.seal import Code
from bakeoff.rundir import version


def git(where: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=where, check=True, capture_output=True, text=True).stdout


def asked(copy: Path) -> Code:
    """What a copy of the module says of the place where it lies."""
    spec = importlib.util.spec_from_file_location("version_of_a_copy", copy)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.running_code()


def test_a_tracked_package_has_its_commit_and_says_whether_anything_is_changed(tmp_path: Path) -> None:
    copy = tmp_path / "src" / "run" / "version.py"
    copy.parent.mkdir(parents=True)
    shutil.copyfile(version.__file__, copy)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing yet")
    assert asked(copy).commit is None
    git(tmp_path, "add", "src")
    git(tmp_path, "commit", "-q", "-m", "the package")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert (asked(copy).commit, asked(copy).dirty) == (head, False)
    (tmp_path / "changed.txt").write_text("")
    assert (asked(copy).commit, asked(copy).dirty) == (head, True)
