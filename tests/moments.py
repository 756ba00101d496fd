"""Something done to a run at one exact moment, when its trial opens a certain file, however busy the machine is.

Python reads a module `sitecustomize` before anything else; the one written here listens to the interpreter's own audit
events, in the process that the moment is about. A test that watched the files from outside would come too late whenever
it has to wait for a processor and the trial has not.
"""

import os
from pathlib import Path

HOOK = """
import os, shutil, signal, sys, time

def interrupt():
    asked, heard = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, lambda *what: (asked(*what), heard.append(what)))
    os.kill(os.getppid(), signal.SIGINT)
    while not heard:
        time.sleep(0.01)

def listen(event, arguments):
    if event == "open" and str(arguments[0]) == {opened!r} and os.path.exists({after!r}):
        if not os.path.exists({done!r}):
            os.mkdir({done!r})
            {act}

sys.addaudithook(listen)
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
INTERRUPT = "interrupt()"  # Ctrl-C for the command; the trial goes on when it has been asked to stop


def fill(path: Path, leave: int) -> str:
    """What fills the disk with this file, but for so many bytes."""
    free = f"shutil.disk_usage({str(path.parent)!r}).free"
    return f"os.posix_fallocate(os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY), 0, {free} - {leave})"


def when(opened: Path, after: Path, act: str, folder: Path) -> dict[str, str]:
    """An environment in which this is done, once, when a process opens the one path after the other has come to be.

    Args:
        folder: new, for the hook itself.
    """
    folder.mkdir()
    hook = HOOK.format(opened=str(opened), after=str(after), done=str(folder / "done"), act=act)
    (folder / "sitecustomize.py").write_text(hook)
    return os.environ | {"PYTHONPATH": str(folder)}
