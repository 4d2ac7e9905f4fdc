"""Refusing: a page says what was not done and what to do; a program is told the same as problem details."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from self_healing.api import answers
from self_healing.api.doorkeeper import MAY, SESSION, looked_at
from self_healing.api.tokens import EVERYTHING
from self_healing.dashboard.rendering import render
from self_healing.errors import SelfHealingError

HEADERS: Final = {
    # Nothing but what is served here: no page works with anybody else's script, and none is shown inside another.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with none at all, browsers send forms with the Origin null
    "X-Content-Type-Options": "nosniff",
}

WORDS: Final = {
    HTTPStatus.NOT_FOUND: (
        "There is no such page",
        "Nothing is at this address: it may be mistyped, or of another version. What there is to see is named above.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "There is no such page",
        "This address is not one to be asked like this. Go back to the page that led here, and use what it offers.",
    ),
}
"""What people are told of a request that no page takes, and how to go on."""

Handler = Callable[[Request, Exception], Awaitable[Response]]


def handlers(environment: str) -> dict[Any, Handler]:
    """What answers for the pages where none of them does: nothing is at an address, or something failed.

    Args:
        environment: which of several fleets this is.
    """

    async def unanswered(request: Request, error: Exception) -> Response:
        if not looked_at(request.scope):
            return await answers.unanswered(request, error)
        assert isinstance(error, HTTPException)
        title, why = WORDS.get(HTTPStatus(error.status_code), ("Not done", error.detail))
        return _page(request, error.status_code, title, why, environment, headers=error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        if not looked_at(request.scope):
            return await answers.failed(request, error)
        status, why = HTTPStatus.INTERNAL_SERVER_ERROR, f"{answers.unforeseen(error)}."
        return _page(request, status, "That failed", why, environment, followed=True)

    return {HTTPException: unanswered, Exception: failed}


def refused(request: Request, error: SelfHealingError, section: str, environment: str) -> Response:
    """A page that says why not; of what there is none, with the way to all that there are."""
    status, title = answers.status_of(error), "Not done"
    if request.method == "GET":
        title = "There is none of that name" if status is HTTPStatus.NOT_FOUND else "That cannot be shown"
    return _page(request, status, title, str(error), environment, section=section, followed=True)


def viewer(request: Request) -> dict[str, Any]:
    """What whoever asks may do, and whether they logged in for it."""
    return {"may": request.scope.get(MAY, EVERYTHING), "logged_in": request.scope.get(SESSION) is not None}


def _page(
    request: Request,
    status: int,
    title: str,
    why: str,
    environment: str,
    *,
    section: str = "",
    followed: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The page; one that was looked at is, where that is wanted, followed until it can be shown."""
    path = request.url.path if followed and request.method == "GET" else ""
    values = {"section": section, "path": path, "told": {}, "person": "", "now": "", "environment": environment}
    page = render("refused.html", title=title, why=why, **values, **viewer(request))
    return HTMLResponse(page, status, headers=HEADERS | dict(headers or {}))
