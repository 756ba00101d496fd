"""Many clients at once, slow ones and such that leave: nobody gets an error, nobody stops the others."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from benchmarks.studio import one_flow, serving, under_load

from bakeoff.studio.sse import MOST
from serving import stream, studio

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("BAKEOFF_LOAD_S", "6"))  # `make load`: 30
GIVE_UP_S = 60.0
SPARE_MIB = 64  # what sockets, buffers and one more thread's memory may take; a leak of frames would be far more


@pytest.fixture
def server(run: Path) -> Iterator[tuple[str, int]]:
    with serving(run) as served:
        one_flow(served[0], 0)
        yield served


def test_twenty_clients_step_without_an_error_and_memory_stays(server: tuple[str, int]) -> None:
    address, pid = server
    under_load(address, pid, SECONDS / 2)  # allocators keep what they once needed
    load = under_load(address, pid, SECONDS)
    assert not load.errors
    assert len(load.flows) >= 20 and {flow.frames for flow in load.flows} == {3 * 11}
    assert load.memory_mib[2] - load.memory_mib[0] < SPARE_MIB


def test_clients_that_read_nothing_stop_nobody(server: tuple[str, int]) -> None:
    address, _ = server
    lazy = [asking(address, f"/api/flow?steps=50&noise={noise}") for noise in range(12)]
    try:
        assert one_flow(address, 77).frames == 33
    finally:
        for connection in lazy:
            connection.close()


def test_who_leaves_makes_room(server: tuple[str, int]) -> None:
    """For as many as were there; the second and the third time for those who came after."""
    address, _ = server
    for _ in range(3):
        watching: list[socket.socket] = []
        try:
            watch_until_full(address, watching)
            with httpx.Client(base_url=address, timeout=30) as client:
                answer = client.get("/api/flow")
            assert answer.status_code == 503 and "streams are open" in answer.json()["error"]
        finally:
            for connection in watching:
                connection.close()


def watch_until_full(address: str, watching: list[socket.socket]) -> None:
    """As many streams as there are at once. Who is refused asks again, as he is told: of those who have left, the
    server notices each in its own time, and until then he counts."""
    give_up = time.monotonic() + GIVE_UP_S
    while len(watching) < MOST:
        assert time.monotonic() < give_up, f"room for {len(watching)} of {MOST}"
        connection = asking(address, "/api/live")
        connection.settimeout(GIVE_UP_S)
        if (status := connection.recv(12)) == b"HTTP/1.1 200":
            watching.append(connection)
            continue
        connection.close()
        assert status == b"HTTP/1.1 503"
        time.sleep(0.02)


def asking(address: str, path: str) -> socket.socket:
    """A client that asks and never reads, with the smallest of buffers."""
    place = urlsplit(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.connect((place.hostname, place.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    return connection


def test_a_burst_gets_no_more_streams_than_there_are(server: tuple[str, int]) -> None:
    address, _ = server
    watching = [asking(address, "/api/live") for _ in range(MOST + 40)]
    try:
        firsts = []
        for connection in watching:
            connection.settimeout(30)
            firsts.append(connection.recv(12))
        assert sorted(firsts) == [b"HTTP/1.1 200"] * MOST + [b"HTTP/1.1 503"] * 40
    finally:
        for connection in watching:
            connection.close()


def test_ctrl_c_ends_it_in_good_order_with_streams_open(run: Path) -> None:
    with studio(run) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert next(stream(client, "/api/live"))[0] == "state"
        still_open = [asking(address, path) for path in ("/api/live", "/api/live", "/api/strip?steps=50", "/api/flow")]
    for connection in still_open:
        connection.close()


def test_the_benchmark_says_what_it_measured(run: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.studio", str(run), "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert re.search(r"20 clients, 2 s: errors \| 0 \|", done.stdout), done.stdout + done.stderr
