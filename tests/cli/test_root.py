"""What the command offers before any command: its version, and completion in the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff import __version__
from command import bakeoff

SCRIPT = f"#!{sys.executable}\nfrom bakeoff.cli import main\nmain()\n"
ASK = """
export PATH="$PWD:$PATH"
eval "$(bakeoff --show-completion bash)"
complete -p bakeoff
COMP_WORDS=(%s) COMP_CWORD=%d
$(complete -p bakeoff | grep -o '_bakeoff[a-z_]*') bakeoff
printf '%%s\\n' "${COMPREPLY[@]}"
"""


def test_the_version_is_the_packages() -> None:
    done = bakeoff("--version")
    assert (done.returncode, done.stdout) == (0, f"bakeoff {__version__}\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("bakeoff", "ver"), {"verdict", "verify"}),
        (("bakeoff", "plan", "mnist-p"), {"mnist-paper", "mnist-paper-adaln"}),
    ],
)
def test_bash_completes_commands_and_presets(words: tuple[str, ...], found: set[str], tmp_path: Path) -> None:
    """As a shell does it that has loaded what `bakeoff --show-completion` prints."""
    (tmp_path / "bakeoff").write_text(SCRIPT)
    (tmp_path / "bakeoff").chmod(0o755)
    asked = ASK % (" ".join(words), len(words) - 1)
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    assert found == set(done.stdout.split("\n")[1:]) - {""}, done.stdout + done.stderr
