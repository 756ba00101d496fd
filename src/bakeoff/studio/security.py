"""Access control: every request's Host, Origin and token are checked before anything else.

Another site's page cannot read this server: its requests carry that site's Origin, and a name that the site points at
this machine (DNS rebinding) is not among the hosts that are served.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import socket
from urllib.parse import urlencode

from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEND_TIMEOUT_S = 30  # for a client that reads nothing
HEADERS = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Security:
    """ASGI middleware that refuses requests, and adds security headers to every response.

    Args:
        host: the address that the server listens on. Beyond loopback, requests may name this machine or any address
            (an address cannot be rebound), and need a token.
        token: None on loopback. A client sends it once as ?token=, then as a cookie, or as `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self.app, self.token, self.open = app, token, not is_loopback(host)
        self.names = {"localhost", "127.0.0.1", "::1", host.lower()}
        if self.open:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._check(scope)
            await (refused or self.app)(scope, receive, _with_headers(send))
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_served(host):
            return _refused(421, f"Host {host[:80]!r} is not served here; allowed: {', '.join(sorted(self.names))}.")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            return _refused(403, f"Origin {origin[:80]!r} is refused; allowed: the studio's own pages.")
        followed = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"  # a person follows a link
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not followed:
            return _refused(403, "This request comes from another site; allowed: the studio's own pages.")
        return self._check_token(scope, headers)

    def _is_served(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        if name in self.names:
            return True
        try:
            return self.open and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self.token is None:
            return None
        query = QueryParams(scope["query_string"])
        if self._is_token(query.get("token")):
            rest = urlencode([(key, value) for key, value in query.multi_items() if key != "token"])
            response = RedirectResponse("/" + scope["path"].lstrip("/") + ("?" + rest if rest else ""), 303)
            # lax: after a link in an email, the redirected request has to carry the cookie
            response.set_cookie(_cookie_name(scope), self._cookie_value(), httponly=True, samesite="lax")
            return response
        cookie = HTTPConnection(scope).cookies.get(_cookie_name(scope), "")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(cookie.encode(), self._cookie_value().encode()) or self._is_token(bearer):
            return None
        return _refused(401, "A token is needed; open the address that `bakeoff studio` printed.")

    def _cookie_value(self) -> str:
        """A digest of the token: a browser sends cookies to every port of a host, which must not learn the token."""
        return hashlib.sha256(f"bakeoff studio {self.token}".encode()).hexdigest()

    def _is_token(self, given: str | None) -> bool:
        return given is not None and self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())


def _cookie_name(scope: Scope) -> str:
    """One name a port, so that two studios on one host do not overwrite each other's cookie."""
    _, port = scope.get("server") or ("", 0)
    return f"bakeoff_{port}"


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS.items()]
        await asyncio.wait_for(send(message), SEND_TIMEOUT_S)

    return sent
