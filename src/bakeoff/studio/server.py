"""The studio's server: pages, flows, a run in progress, blind judging. It shows; what it shows is made elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bakeoff.errors import BakeoffError
from bakeoff.studio.answers import Busy, answering, failure, http_error
from bakeoff.studio.describe import describe
from bakeoff.studio.flows import Event, Flows, Query
from bakeoff.studio.guard import Guard
from bakeoff.studio.judging import Judging
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.watch import Watch

HERE = Path(__file__).parent
STATIC = HERE / "static"
PAGES = {"/": "flow.html", "/judge": "judge.html", "/live": "live.html"}
STREAMS = 64  # at once
LOOK_EVERY_S, SIGN_OF_LIFE_S = 1.0, 15.0


class Studio:
    """One run directory behind HTTP."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path, self.flows, self.watch = path, Flows(device), Watch(path)
        self.streams = 0

    def app(self, host: str = "127.0.0.1", token: str | None = None) -> Guard:
        routes = [
            *(Route(at, answering(self.page)) for at in PAGES),
            Route("/api/run", answering(self.run)),
            Route("/api/noise", answering(self.noise)),
            Route("/api/flow", answering(self.flow)),
            Route("/api/strip", answering(self.strip)),
            Route("/api/live", answering(self.live)),
            *Judging(self._open).routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        handlers = {HTTPException: http_error, Exception: failure}
        return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan), host, token)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm())
        yield
        warming.cancel()
        self.flows.close()

    async def _warm(self) -> None:
        with suppress(BakeoffError, OSError):  # the first page will say it
            await self.flows.warm(RunDir.open(self.path))

    async def page(self, request: Request) -> Response:
        try:
            await run_in_threadpool(RunDir.open, self.path)
        except BakeoffError as error:
            problem = Template((HERE / "problem.html").read_text(encoding="utf-8"))
            return HTMLResponse(problem.substitute(problem=escape(str(error))), 500)
        return FileResponse(STATIC / PAGES[request.url.path])

    async def run(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(describe, self.path))

    async def noise(self, request: Request) -> Response:
        query = _query(request)
        return JSONResponse(await self.flows.noise(await self._open(), query))

    async def flow(self, request: Request) -> Response:
        run, query = await self._open(), _query(request)
        query.check(run)
        return self._stream(self.flows.stream(run, query))

    async def strip(self, request: Request) -> Response:
        run, query = await self._open(), _query(request)
        query.check(run)
        return self._stream(self.flows.strips(run, query))

    async def live(self, request: Request) -> Response:
        return self._stream(self._changes())

    async def _changes(self) -> AsyncIterator[Event | None]:
        last: Event | None = None
        waited = 0.0
        while True:
            try:
                now: Event = "state", await run_in_threadpool(self.watch.state)
            except BakeoffError as error:
                now = "problem", {"error": str(error)}
            if now != last:
                last, waited = now, 0.0
                yield now
            elif waited >= SIGN_OF_LIFE_S:
                waited = 0.0
                yield None
            await asyncio.sleep(LOOK_EVERY_S)
            waited += LOOK_EVERY_S

    async def _open(self) -> RunDir:
        return await run_in_threadpool(RunDir.open, self.path)

    def _stream(self, events: AsyncIterator[Event | None]) -> Response:
        if self.streams >= STREAMS:
            raise Busy(f"{STREAMS} streams are open already; close a page or try again later.")

        async def lines() -> AsyncIterator[str]:
            self.streams += 1
            try:
                async for event in events:
                    yield ": still here\n\n" if event is None else _line(*event)
            except (BakeoffError, OSError) as error:
                yield _line("error", {"error": str(error)})
            finally:
                self.streams -= 1

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _line(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n"


def _query(request: Request) -> Query:
    try:
        return Query.model_validate(dict(request.query_params))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "query"
        allowed = "" if first["type"] != "extra_forbidden" else f"; allowed: {', '.join(Query.model_fields)}"
        raise HTTPException(400, f"{name[:80]} = {str(first['input'])[:80]!r}: {first['msg']}{allowed}.") from None
