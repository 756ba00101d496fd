"""Server-sent events: the number of open streams is bounded, and all streams end when the server does."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bakeoff.errors import BakeoffError
from bakeoff.studio.flows import Event
from bakeoff.studio.responses import Busy

MOST = 64  # open streams
HEADERS = {"x-accel-buffering": "no"}


class Streams:
    """All streams of one server."""

    def __init__(self) -> None:
        self.open = 0
        self.ending = asyncio.Event()

    def respond(self, events: AsyncGenerator[Event | None, None]) -> "Stream":
        """A response that sends events as they come; None is sent as a comment, which keeps the connection alive.

        Raises:
            Busy: too many are open.
        """
        if self.open >= MOST:
            raise Busy(f"{MOST} streams are open already; close a page or try again later.")
        return Stream(self, events)

    async def wait(self, seconds: float) -> bool:
        """False as soon as the server ends; True after `seconds`."""
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
        except TimeoutError:
            return True
        return False


class Stream(StreamingResponse):
    """Counted from its creation to its end, even if nobody reads it.

    It is over before the end of the answer is sent: who has all of an answer has made room for the next.
    """

    def __init__(self, streams: Streams, events: AsyncGenerator[Event | None, None]) -> None:
        self._streams, self._text = streams, self._lines(events)
        super().__init__(self._text, media_type="text/event-stream", headers=HEADERS)
        self._open = True
        streams.open += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()
            await self._text.aclose()  # after a disconnect the generators are still open

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._streams.open -= 1

    async def _lines(self, events: AsyncGenerator[Event | None, None]) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(events):
                async for event in events:
                    if self._streams.ending.is_set():
                        return
                    yield ": still here\n\n" if event is None else _line(*event)
        except (BakeoffError, OSError) as error:
            yield _line("error", {"error": str(error)})
        self._close()


def _line(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
