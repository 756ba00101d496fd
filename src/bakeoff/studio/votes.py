"""Blind votes over HTTP. Before the reveal no response holds a name, a time, or anything that differs by backbone."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bakeoff.artefacts.sheets import data_uri
from bakeoff.errors import BakeoffError
from bakeoff.judging import sessions
from bakeoff.rundir.directory import RunDir
from bakeoff.studio.controls import offer_of
from bakeoff.studio.responses import Opened, body, json_errors, text

WRITERS = 4  # threads that may wait for the record's lock; other threads serve pages


class Votes:
    """The routes of blind sessions, which live in the run directory; this class keeps no state."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.few = CapacityLimiter(WRITERS)

    def routes(self) -> list[Route]:
        return [
            Route("/api/judging", json_errors(self.begin), methods=["POST"]),
            Route("/api/judging", json_errors(self.question)),
            Route("/api/judging/{session}", json_errors(self.resume)),
            Route("/api/judging/{session}/votes", json_errors(self.vote), methods=["POST"]),
            Route("/api/judging/{session}/reveal", json_errors(self.reveal)),
        ]

    async def question(self, request: Request) -> Response:
        return await self._respond(lambda run: {"question": offer_of(run.protocol).question})

    async def begin(self, request: Request) -> Response:
        who = text(await body(request), "who")
        return await self._respond(lambda run: _session_json(sessions.begin(run, who)), 201)

    async def resume(self, request: Request) -> Response:
        session = request.path_params["session"]
        return await self._respond(lambda run: _session_json(sessions.resume(run, session)))

    async def vote(self, request: Request) -> Response:
        given, session = await body(request), request.path_params["session"]
        item, said = text(given, "id"), text(given, "vote")
        return await self._respond(lambda run: {"left": sessions.cast(run, session, item, said).left})

    async def reveal(self, request: Request) -> Response:
        session = request.path_params["session"]
        return await self._respond(lambda run: _reveal_json(sessions.reveal(run, session)))

    async def _respond(self, work: Callable[[RunDir], dict[str, Any]], status: int = 200) -> Response:
        """An error that names a file or a backbone is replaced: it would tell whose the samples are."""
        names: list[str] = []
        try:
            run = await self.opened()
            names = [str(run.path), *(backbone.name for backbone in run.protocol.backbones)]
            return JSONResponse(await to_thread.run_sync(work, run, limiter=self.few), status)
        except sessions.StillOpen as error:
            raise HTTPException(409, str(error)) from None
        except sessions.Unreadable as error:
            raise HTTPException(500, str(error)) from None
        except BakeoffError as error:
            if not names or any(name in str(error) for name in names):
                raise HTTPException(500, "This run cannot be judged as it is; `bakeoff verify` says why.") from None
            raise


def _session_json(session: sessions.Session) -> dict[str, Any]:
    """All sets at once, in the order in which they are shown."""
    items = [{"id": item.id, "image": data_uri(item.picture())} for item in session.items]
    return {"session": session.id, "items": items, "voted": session.votes}


def _reveal_json(found: sessions.Reveal) -> dict[str, Any]:
    return {
        "items": [item._asdict() for item in found.items],
        "backbones": [{"name": name, **asdict(votes), "share": votes.share} for name, votes in found.backbones.items()],
        "agreement": {"judge": found.agreement.judge._asdict(), "people": found.agreement.people._asdict()},
        "commitment": found.commitment,
        "salt": found.salt,
        "mapping": found.mapping,
    }
