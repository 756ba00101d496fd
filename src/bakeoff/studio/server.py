"""The studio's server: its routes, to pages, flows, a run in progress and blind votes."""

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
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.progress import Watch
from bakeoff.rundir.sealed import as_sealed
from bakeoff.studio.flows import Event, Flows
from bakeoff.studio.query import query_of
from bakeoff.studio.responses import failure, http_error, json_errors
from bakeoff.studio.run_info import RunInfo
from bakeoff.studio.security import Security
from bakeoff.studio.sse import Streams
from bakeoff.studio.votes import Votes

HERE = Path(__file__).parent
STATIC = HERE / "static"
PAGES = {"/": "flow.html", "/judge": "judge.html", "/live": "live.html"}
LOOK_EVERY_S, SIGN_OF_LIFE_S = 1.0, 15.0


class Studio:
    """One run directory behind HTTP."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.path, self.flows, self.watch = path, Flows(device), Watch(path)
        self.info, self.streams = RunInfo(path), Streams()

    def app(self, host: str = "127.0.0.1", token: str | None = None) -> Security:
        routes = [
            *(Route(at, json_errors(self.page)) for at in PAGES),
            Route("/api/run", json_errors(self.run)),
            Route("/api/flow", json_errors(self.flow)),
            Route("/api/strip", json_errors(self.strip)),
            Route("/api/live", json_errors(self.live)),
            *Votes(self.opened).routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        handlers = {HTTPException: http_error, Exception: failure}
        return Security(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan), host, token)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm())
        yield
        warming.cancel()
        self.flows.close()

    async def _warm(self) -> None:
        with suppress(BakeoffError, OSError):  # the first page will show the error
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
        return JSONResponse(await self.info.get())

    async def flow(self, request: Request) -> Response:
        run = await self.opened()
        return self.streams.respond(self.flows.stream(run, query_of(run, request.query_params)))

    async def strip(self, request: Request) -> Response:
        run = await self.opened()
        return self.streams.respond(self.flows.strips(run, query_of(run, request.query_params)))

    async def live(self, request: Request) -> Response:
        return self.streams.respond(self._changes())

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
        """The run now; once it has finished, with its present verdict, which may still wait for people's votes."""
        try:
            state = await run_in_threadpool(self.watch.state)
            if state["finished"]:
                info = await self.info.get()
                state = {**state, "verdict": info["headline"], "finished": info["complete"]}
        except BakeoffError as error:
            return "problem", {"error": str(error)}
        return "state", state
