"""From a run directory to a server that listens."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from bakeoff.errors import BakeoffError
from bakeoff.studio.guard import is_loopback
from bakeoff.studio.server import Studio

PORT = 8377
SHUTDOWN_S = 1  # for streams that never end


def serve(
    run: Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    device: str = "cpu",
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until interrupted.

    Args:
        port: 0 takes any that is free.
        token: drawn at random where one is needed and none is given.
        ready: called with the address to open, once it is served.

    Raises:
        BakeoffError: the address cannot be listened on.
    """
    if not is_loopback(host):
        token = token or secrets.token_urlsafe(24)
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
    config = uvicorn.Config(
        Studio(run, device).app(host, token),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    _Server(config, lambda: ready(url)).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it has begun to serve; from then on Ctrl-C ends it in good order."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


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
