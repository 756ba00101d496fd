"""The studio's server: pages, flows, a run in progress, blind judging. It shows; what it shows is made elsewhere."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from html import escape
from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bakeoff.errors import BakeoffError
from bakeoff.run.directory import RunDir
from bakeoff.run.progress import Watch
from bakeoff.run.sealed import as_sealed
from bakeoff.studio.flows import Event, Flows
from bakeoff.studio.query import query_of
from bakeoff.studio.responses import answering, failure, http_error
from bakeoff.studio.run_info import Described
from bakeoff.studio.security import Guard
from bakeoff.studio.sse import Streams
from bakeoff.studio.votes import Judging

HERE = Path(__file__).parent
STATIC = HERE / "static"
PAGES = {"/": "flow.html", "/judge": "judge.html", "/live": "live.html"}
LOOK_EVERY_S, SIGN_OF_LIFE_S = 1.0, 15.0


class Studio:
    """One run directory behind HTTP."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path, self.flows, self.watch = path, Flows(device), Watch(path)
        self.described, self.streams = Described(path), Streams()

    def app(self, host: str = "127.0.0.1", token: str | None = None) -> Guard:
        routes = [
            *(Route(at, answering(self.page)) for at in PAGES),
            Route("/api/run", answering(self.run)),
            Route("/api/flow", answering(self.flow)),
            Route("/api/strip", answering(self.strip)),
            Route("/api/live", answering(self.live)),
            *Judging(self.opened).routes(),
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
            await self.flows.warm(await self.opened())

    async def opened(self) -> RunDir:
        run, _ = await run_in_threadpool(as_sealed, self.path)
        return run

    async def page(self, request: Request) -> Response:
        try:
            await self.opened()
        except BakeoffError as error:
            problem = Template((HERE / "problem.html").read_text(encoding="utf-8"))
            return HTMLResponse(problem.substitute(problem=escape(str(error))), 500)
        return FileResponse(STATIC / PAGES[request.url.path])

    async def run(self, request: Request) -> Response:
        return JSONResponse(await self.described.get())

    async def flow(self, request: Request) -> Response:
        run, query = await self.opened(), query_of(request)
        query.check(run)
        return self.streams.answer(self.flows.stream(run, query))

    async def strip(self, request: Request) -> Response:
        run, query = await self.opened(), query_of(request)
        query.check(run)
        return self.streams.answer(self.flows.strips(run, query))

    async def live(self, request: Request) -> Response:
        return self.streams.answer(self._changes())

    async def _changes(self) -> AsyncGenerator[Event | None, None]:
        last: Event | None = None
        waited = 0.0
        while True:
            now = await self._state()
            if now != last:
                last, waited = now, 0.0
                yield now
            elif waited >= SIGN_OF_LIFE_S:
                waited = 0.0
                yield None
            if not await self.streams.wait(LOOK_EVERY_S):
                return
            waited += LOOK_EVERY_S

    async def _state(self) -> Event:
        """Of the run now; at its end with the verdict as it stands, for which people's votes may still be waited."""
        try:
            state = await run_in_threadpool(self.watch.state)
            if state["finished"]:
                described = await self.described.get()
                state = {**state, "verdict": described["headline"], "finished": described["complete"]}
        except BakeoffError as error:
            return "problem", {"error": str(error)}
        return "state", state
