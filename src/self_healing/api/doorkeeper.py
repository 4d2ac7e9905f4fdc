"""Who may speak to a port: holders of the token, or without one only programs on this machine, and no web page."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from self_healing.config import is_loopback

OPEN_PATHS: Final = frozenset(("/healthz", "/readyz"))
"""What probes may ask without the token: whether it lives, and nothing else."""


class Doorkeeper:
    """Lets through what may speak to `app`, and answers the rest itself.

    A page in a browser on this machine can send requests to it too, under a name of its own choosing. So without a
    token the Host must be this machine's, and an Origin, which only browsers send, must be the port's own.

    Args:
        app: what is behind it.
        token: what senders show as ``Authorization: Bearer``; None on a loopback address.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
        await JSONResponse({"message": message}, status, challenge)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return HTTPStatus.FORBIDDEN, f"Origin {origin!r}: allowed is a page of this port only"
        if self._token is None:
            if not is_loopback(urlsplit(f"//{host}").hostname or ""):
                return HTTPStatus.MISDIRECTED_REQUEST, f"Host {host!r}: allowed is localhost or a loopback address"
            return None
        if scope["path"] in OPEN_PATHS:
            return None
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), self._token):
            return HTTPStatus.UNAUTHORIZED, "the token is missing or wrong; send 'Authorization: Bearer TOKEN'"
        return None
