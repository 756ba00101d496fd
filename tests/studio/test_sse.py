"""Streams are counted: from when they are promised until nothing more of them is to come, or nobody takes it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from bakeoff.studio.responses import Busy
from bakeoff.studio.sse import MOST, Stream, Streams

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


async def one_event() -> AsyncGenerator[tuple[str, dict] | None, None]:
    yield "end", {}


async def no_event() -> AsyncGenerator[tuple[str, dict] | None, None]:
    await asyncio.Event().wait()
    yield None


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def leaves() -> Message:
    return {"type": "http.disconnect"}


def test_who_has_all_of_an_answer_has_made_room() -> None:
    """Already when the end is sent: the next question may come in the same instant."""
    streams, seen = Streams(), []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            seen.append((message["body"], streams.open))

    asyncio.run(streams.respond(one_event())(SCOPE, stays, send))
    assert seen == [(b"event: end\ndata: {}\n\n", 1), (b"", 0)] and streams.open == 0


def test_who_leaves_makes_room_and_once() -> None:
    streams = Streams()

    async def send(message: Message) -> None:
        pass

    async def both() -> None:
        other = streams.respond(one_event())
        await streams.respond(no_event())(SCOPE, leaves, send)
        assert streams.open == 1
        await other(SCOPE, stays, send)

    asyncio.run(both())
    assert streams.open == 0


def test_no_more_are_promised_than_there_are() -> None:
    streams = Streams()
    promised: list[Stream] = [streams.respond(one_event()) for _ in range(MOST)]
    with pytest.raises(Busy, match=f"{MOST} streams are open already"):
        streams.respond(one_event())
    assert streams.open == len(promised) == MOST
