"""Logging in: a browser shows the token once, and holds a cookie from then on that no script can read."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from self_healing.api.doorkeeper import API, LOGIN, LOGOUT
from self_healing.api.sessions import COOKIE, LASTS, Sessions
from self_healing.api.tokens import Tokens
from self_healing.dashboard.rendering import render

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
}

UNDONE: Final = "Nothing was done: your login was over. Log in, and do it again on the page that you are led back to."
"""What is said to whoever sent a form too late."""


def routes(tokens: Tokens, sessions: Sessions) -> list[Route]:
    """The pages by which people log in and out.

    Args:
        tokens: which there are.
        sessions: who is logged in.
    """

    async def page(request: Request) -> Response:
        problem = UNDONE if "undone" in request.query_params else None
        return _page(request.query_params.get("next", "/"), problem, HTTPStatus.OK)

    async def login(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=5) as form:
            shown, then = str(form.get("token", "")).strip(), str(form.get("next", "/"))
        scopes = tokens.scopes(shown)
        if scopes is None:
            return _page(then, "There is no such token.", HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse(_own(then), HTTPStatus.SEE_OTHER, headers=HEADERS)
        answer.set_cookie(
            COOKIE,
            sessions.begin(scopes),
            max_age=int(LASTS.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER, headers=HEADERS)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return [
        Route(LOGIN, page, methods=["GET"]),
        Route(LOGIN, login, methods=["POST"]),
        Route(LOGOUT, logout, methods=["POST"]),
    ]


def _own(path: str) -> str:
    """`path` where it is a page of this port; the first one else, for nobody is led away from here, nor to the API."""
    led_away = path.startswith(("//", "/\\", API))
    return path if path.startswith("/") and not led_away and path.isprintable() else "/"


def _page(then: str, problem: str | None, status: HTTPStatus) -> Response:
    return HTMLResponse(render("login.html", then=_own(then), problem=problem), status, headers=HEADERS)
