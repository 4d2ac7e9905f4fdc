"""Who may speak to a port, and do what: holders of tokens; without any, programs on this machine, and no web page.

This is the only door: whatever a port serves is behind it, and what nobody thought of is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from self_healing.api.answers import problem
from self_healing.api.sessions import Sessions, shown_by
from self_healing.api.tokens import EVERYTHING, Scopes, Tokens
from self_healing.config import Scope, ServerSettings, is_loopback

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
API: Final = "/api/"
"""Beneath this programs ask, the scripts of the pages among them: none of them is led to a page that asks a person."""

OPEN_PATHS: Final = frozenset(("/healthz", "/readyz", LOGIN, "/static/style.css", "/static/icon.svg"))
"""What may be asked without a token: whether it lives, as probes do, and to log in."""

MAY: Final = "self_healing.may"
SESSION: Final = "self_healing.session"
HOLDS: Final = "self_healing.holds"
"""Where a request's scope has what its sender may do, the id of the session by which that is known, if it is, and what
says whether that still holds: an answer may last for longer than a session."""

TELEMETRY: Final = "/v1/"
"""Beneath this, telemetry comes in."""

SENDING: Final = (TELEMETRY, "/ofrep/")
"""Beneath these, telemetry comes in and directives are asked for."""

MCP: Final = "/mcp"
"""Where everything is a POST, also what only reads; what does more, its tools refuse themselves."""

ANSWERS: Final = ("/approve", "/deny")
"""How paths end by which people answer what cannot be undone."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer says to browsers that does not say it for itself."""

Refusal = tuple[HTTPStatus, str]


def needed(method: str, path: str) -> Scope:
    """What somebody must be allowed who sends such a request, whether or not there is such a path."""
    if path.startswith(SENDING):
        return Scope.SEND
    if method in ("GET", "HEAD") or path in (LOGOUT, MCP):
        return Scope.READ
    return Scope.APPROVE if path.endswith(ANSWERS) else Scope.OPERATE


class Doorkeeper:
    """Lets through what may speak to `app`, and answers the rest itself.

    A page in a browser on this machine can send requests to it too, under a name of its own choosing. So the Host must
    be a name of this machine that is known, and an Origin, which only browsers send, must be the port's own.

    Args:
        app: what is behind it.
        settings: by which names it is called.
        tokens: which there are; without any, everybody on this machine may do all.
        sessions: who showed one of them in a browser.
        turned_away: told the status of each refusal of a request with telemetry.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        tokens: Tokens,
        sessions: Sessions,
        turned_away: Callable[[int], None],
    ) -> None:
        self._app = app
        self._turned_away = turned_away
        self._tokens = tokens
        self._sessions = sessions
        self._hosts = frozenset((settings.host.lower(), *settings.hosts))
        self._origins = frozenset(settings.origins)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            return  # no port speaks WebSocket
        refusal = self._refusal(scope)
        if not scope["path"].startswith(SENDING):
            send = _with_headers(send)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        if scope["method"] == "POST" and scope["path"].startswith(TELEMETRY):
            self._turned_away(status)
        if status is HTTPStatus.UNAUTHORIZED and _by_a_person(scope):
            await RedirectResponse(_login(scope), HTTPStatus.SEE_OTHER)(scope, receive, send)
            return
        challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
        await problem(status, message, challenge)(scope, receive, send)

    def _refusal(self, scope: Connection) -> Refusal | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        foreign = self._foreign(host, headers.get("origin"))
        if foreign is not None:
            return HTTPStatus.FORBIDDEN, foreign
        if scope["path"] in OPEN_PATHS:
            return None
        may, session = self._may(headers)
        if may is None:
            return (
                HTTPStatus.UNAUTHORIZED,
                "the token is missing or wrong; send 'Authorization: Bearer TOKEN'",
            )
        wanted = needed(scope["method"], scope["path"])
        if wanted not in may:
            return HTTPStatus.FORBIDDEN, f"that takes the scope {wanted}; this token has {', '.join(sorted(may))}"
        if session is not None and scope["method"] not in ("GET", "HEAD") and "origin" not in headers:
            # A browser sends a cookie whoever made the page; by the Origin alone is it known that it is one of ours.
            return HTTPStatus.FORBIDDEN, "Origin is missing: allowed beside a cookie is a page of this port"
        scope[MAY], scope[SESSION] = may, session
        scope[HOLDS] = lambda: session is None or self._sessions.scopes(session) is not None
        return None

    def _may(self, headers: Headers) -> tuple[Scopes | None, str | None]:
        """What a sender may do, None for nothing at all; and the session by which it is known."""
        if not self._tokens.needed:
            return EVERYTHING, None
        if "authorization" in headers:
            return self._tokens.shown_by(headers["authorization"]), None
        session = shown_by(headers.get("cookie", ""))
        return (None, None) if session is None else (self._sessions.scopes(session), session)

    def _foreign(self, host: str, origin: str | None) -> str | None:
        """What is foreign about who is called, or who calls."""
        if not self._known(_split(f"//{host}").hostname or ""):
            others = "a name in server.hosts" if self._tokens.needed else "nothing else without a token"
            return f"Host {host!r}: allowed are localhost, a loopback address, and {others}"
        if origin is None or origin.lower() in self._origins or _split(origin).netloc == host:
            return None
        return f"Origin {origin!r}: allowed is a page of this port, and one in server.origins"

    def _known(self, name: str) -> bool:
        if is_loopback(name):
            return True
        # A page can be reached by a name that somebody else lets lead here, but not by an address.
        return name in self._hosts or (self._tokens.needed and _is_address(name))


def looked_at(scope: Connection) -> bool:
    """Whether a person sees the answer, in a browser: nobody looks at what is for programs."""
    for_programs = scope["path"] == MCP or scope["path"].startswith((API, *SENDING, f"{MCP}/"))
    return not for_programs and "text/html" in Headers(scope=scope).get("accept", "")


def _by_a_person(scope: Connection) -> bool:
    """Whether somebody sees the answer, who can log in; not a page's own script, which asks for it once more."""
    asked = scope["method"] in ("GET", "POST") and "hx-request" not in Headers(scope=scope)
    return asked and looked_at(scope)


def _login(scope: Connection) -> str:
    """Where to log in, and go on with the page that was asked for; or with the one whose form has done nothing."""
    if scope["method"] == "GET":
        query = scope["query_string"].decode("latin-1")
        return f"{LOGIN}?next={quote(quote(scope['path']) + (f'?{query}' if query else ''))}"
    if scope["path"] == LOGOUT:
        return LOGIN
    headers = Headers(scope=scope)
    page = _split(headers.get("referer", ""))
    own = page.netloc != "" and page.netloc == headers.get("host")
    there = page.path + (f"?{page.query}" if page.query else "") if own else "/"
    return f"{LOGIN}?next={quote(there)}&undone=yes"


def _split(url: str) -> SplitResult:
    """`url` in its parts; all of them empty where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
