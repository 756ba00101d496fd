"""Start the server for a run directory, and end it in good order."""

import logging
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from bakeoff.errors import BakeoffError
from bakeoff.studio.security import is_loopback
from bakeoff.studio.server import Studio

SHUTDOWN_S = 1  # for streams that never end


def serve(
    run: Path,
    host: str,
    port: int,
    token: str | None = None,
    device: str = "cpu",
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until interrupted.

    Args:
        port: 0 takes any that is free.
        token: None draws one at random where one is needed.
        ready: called with the address to open, once it is served.

    Raises:
        BakeoffError: the address cannot be listened on, or the token is not allowed.
    """
    if token is not None and not re.fullmatch(r"[!-~]{6,200}", token):
        raise BakeoffError("--token: allowed are 6 to 200 visible ASCII characters without spaces.")
    if not is_loopback(host):
        token = token or secrets.token_urlsafe(24)
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}/" + ("?" + urlencode({"token": token}) if token else "")
    studio = Studio(run, device)
    config = uvicorn.Config(
        studio.app(host, token),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    _Server(config, lambda: ready(url), studio.streams.ending.set).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Calls `ready` once it serves; after that, Ctrl-C ends it in good order."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._ending = ready, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # streams that are cut off now are no error
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BakeoffError(
            f"{host}:{port}: cannot listen ({reason}). Name another with --host and --port; 0 takes any port."
        ) from None
    return listening
