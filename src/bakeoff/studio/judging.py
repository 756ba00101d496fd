"""Blind judging over HTTP. Until the reveal no response holds a name, a time, or anything that differs by backbone."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bakeoff.studio.answers import Opened, answering, body, text
from bakeoff.trial import judging
from bakeoff.trial.grids import data_uri, tiled
from bakeoff.trial.rundir import RunDir

COLUMNS = 4


class Judging:
    """Sessions are kept in the run directory; nothing is remembered here."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened

    def routes(self) -> list[Route]:
        return [
            Route("/api/judging", answering(self.begin), methods=["POST"]),
            Route("/api/judging/{session}", answering(self.resume)),
            Route("/api/judging/{session}/votes", answering(self.vote), methods=["POST"]),
            Route("/api/judging/{session}/reveal", answering(self.reveal)),
        ]

    async def begin(self, request: Request) -> Response:
        who = text(await body(request), "who")
        run = await self.opened()
        return JSONResponse(await run_in_threadpool(_shown, judging.begin, run, who), 201)

    async def resume(self, request: Request) -> Response:
        run, session = await self.opened(), request.path_params["session"]
        return JSONResponse(await run_in_threadpool(_shown, judging.resume, run, session))

    async def vote(self, request: Request) -> Response:
        given = await body(request)
        run, session = await self.opened(), request.path_params["session"]
        cast = await run_in_threadpool(judging.cast, run, session, text(given, "id"), text(given, "vote"))
        return JSONResponse({"left": cast.left})

    async def reveal(self, request: Request) -> Response:
        run = await self.opened()
        try:
            found = await run_in_threadpool(judging.reveal, run, request.path_params["session"])
        except judging.StillOpen as error:
            raise HTTPException(409, str(error)) from None
        return JSONResponse(_revealed(found))


def _shown(session_of: Callable[[RunDir, str], judging.Session], run: RunDir, given: str) -> dict[str, Any]:
    """All sets at once, in the order to be shown."""
    try:
        session = session_of(run, given)
        items = [{"id": item.id, "image": data_uri(tiled(item.images_BHW, COLUMNS))} for item in session.items]
    except judging.Unreadable as error:
        raise HTTPException(500, str(error)) from None
    return {"session": session.id, "items": items, "voted": session.votes}


def _revealed(found: judging.Reveal) -> dict[str, Any]:
    return {
        "items": [item._asdict() for item in found.items],
        "backbones": [{"name": name, **asdict(votes), "share": votes.share} for name, votes in found.backbones.items()],
        "agreement": {"judge": found.agreement.judge._asdict(), "people": found.agreement.people._asdict()},
        "commitment": found.commitment,
        "salt": found.salt,
        "mapping": found.mapping,
    }
