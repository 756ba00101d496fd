"""Request bodies and error responses: bounded JSON, and errors in words."""

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bakeoff.errors import BakeoffError
from bakeoff.rundir.directory import RunDir

LARGEST_BODY = 4096  # bytes

Handler = Callable[[Request], Awaitable[Response]]
Opened = Callable[[], Awaitable[RunDir]]


class Busy(BakeoffError):
    """The server does as much as it can at once."""


async def body(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        HTTPException: 415 if it is not declared as JSON (a form of another site cannot do so), 413 if it is too large,
            400 if it is no object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"Content-Type {kind[:80]!r}; allowed: application/json.")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise HTTPException(413, f"More than {LARGEST_BODY} bytes were sent.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise HTTPException(400, "The body is not a JSON object.")
    return document


def text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise HTTPException(400, f"{key} is missing or is not a text.")
    return value


def json_errors(handler: Handler) -> Handler:
    """A handler that turns errors which a user can act on into JSON responses."""

    @wraps(handler)
    async def respond(request: Request) -> Response:
        try:
            if request.method == "HEAD":  # would cost as much as GET
                raise HTTPException(405, "HEAD is not supported; allowed: GET.")
            return await handler(request)
        except Busy as error:
            return _error(error, 503, {"retry-after": "5"})
        except (BakeoffError, OSError) as error:
            return _error(error, 400)

    return respond


async def http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.detail, error.status_code, error.headers)


async def failure(request: Request, error: Exception) -> Response:
    return _error(f"The studio failed: {type(error).__name__}. Its terminal shows the reason.", 500)


def _error(error: object, status: int, headers: Any = None) -> Response:
    return JSONResponse({"error": str(error)}, status, headers)
