"""A studio as a user starts it, for tests to talk to."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ADDRESS = re.compile(r"http://\S+")
Event = tuple[str, dict]


@contextmanager
def studio(run: Path, *options: str) -> Iterator[str]:
    """The address it printed, while it serves; ended by Ctrl-C, which it has to take in good order."""
    command = [sys.executable, "-m", "bakeoff", "studio", str(run), "--port", "0", "--no-open", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        address = ADDRESS.search(first)
        assert address, first + process.communicate()[1]
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    ended = process.returncode, out, errors
    assert ended == (0, "bakeoff studio: ended\n", ""), ended


def events(client: httpx.Client, path: str, **query: object) -> list[Event]:
    """All of a finite stream."""
    return list(stream(client, path, **query))


def stream(client: httpx.Client, path: str, **query: object) -> Iterator[Event]:
    with client.stream("GET", path, params={key: str(value) for key, value in query.items()}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])
