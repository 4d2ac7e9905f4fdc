"""Pages: each is one question to the service, and a template.

Nothing is changed by a GET. A form is a POST, which the guard lets through only from a page of this port, and is
answered with the page to go on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from self_healing.api.looking import Ask
from self_healing.dashboard.changes import Changes, route
from self_healing.dashboard.rendering import render
from self_healing.errors import NotFound, SelfHealingError

Json = dict[str, Any]
Look = Callable[[Request], Awaitable[Json]]

STATIC: Final = Path(__file__).parent / "static"

HEADERS: Final = {
    # Nothing but what is served here: no page works with anybody else's script, and none is shown inside another.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

REMEMBERED_S: Final = 365 * 86400
PERSON: Final = "person"
"""The cookie that keeps the name under which a person acted last, so that it need not be typed again."""


class Pages:
    """What the pages are made of.

    Args:
        ask: asks the service one of its commands.
        changes: what is new.
        now: the present instant, as the service has it.
    """

    def __init__(self, ask: Ask, changes: Changes, now: Callable[[], datetime]) -> None:
        self._ask = ask
        self._now = now
        self._changes = changes
        self._made: dict[tuple[str, str], tuple[int, asyncio.Task[str]]] = {}  # by path and person, of which version

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            self._page("/", "now.html", "Now", lambda _: self._ask("overview")),
            self._page("/incidents", "incidents.html", "Incidents", lambda _: self._ask("history", limit=100)),
            self._page("/incidents/{id}", "incident.html", "Incidents", self._incident),
            self._page("/triggers", "triggers.html", "Triggers", lambda _: self._ask("sparks")),
            self._page("/actions", "actions.html", "Actions", lambda _: self._ask("actions")),
            self._page("/constitution", "constitution.html", "Constitution", lambda _: self._ask("constitution")),
            self._page("/audit", "audit.html", "Audit", lambda _: self._ask("audit")),
            self._page("/stop", "stop.html", "Stop", lambda _: self._ask("status")),
            self._form("/incidents/{id}/ack", "ack", "/incidents/{id}"),
            self._form("/incidents/{id}/close", "close", "/incidents/{id}"),
            self._form("/stop", "stop", "/stop"),
            self._form("/resume", "resume", "/stop"),
            route("/changes", self._changes),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def _incident(self, request: Request) -> Json:
        return await self._ask("incident", id=request.path_params["id"])

    # -- how pages are answered

    def _page(self, path: str, template: str, section: str, look: Look) -> Route:
        async def page(request: Request) -> Response:
            try:
                return HTMLResponse(await self._rendered(request, template, section, look), headers=HEADERS)
            except SelfHealingError as error:
                return _refused(error, section)

        return Route(path, page, methods=["GET"])

    async def _rendered(self, request: Request, template: str, section: str, look: Look) -> str:
        """The page; made once for everybody who asks for it before something changes."""
        person = request.cookies.get(PERSON, "")
        key, version = (f"{request.url.path}?{request.url.query}", person), self._changes.version
        known = self._made.get(key)
        if known is None or known[0] != version or (known[1].done() and known[1].exception() is not None):
            made = asyncio.ensure_future(self._make(request, template, section, look, person))
            self._made = {each: old for each, old in self._made.items() if old[0] == version}
            known = self._made[key] = (version, made)
        return await asyncio.shield(known[1])

    async def _make(self, request: Request, template: str, section: str, look: Look, person: str) -> str:
        told = await look(request)
        return render(
            template, told=told, section=section, path=request.url.path, person=person, now=self._now().isoformat()
        )

    def _form(self, path: str, command: str, then: str) -> Route:
        async def act(request: Request) -> Response:
            async with request.form(max_files=0, max_fields=20) as form:
                given = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
            try:
                await self._ask(command, **request.path_params, **given)
            except SelfHealingError as error:
                return _refused(error, "")
            answer = RedirectResponse(then.format(**request.path_params), HTTPStatus.SEE_OTHER, headers=HEADERS)
            if "by" in given:
                answer.set_cookie(PERSON, given["by"], max_age=REMEMBERED_S, httponly=True, samesite="strict")
            return answer

        return Route(path, act, methods=["POST"])


def _refused(error: SelfHealingError, section: str) -> Response:
    status = HTTPStatus.NOT_FOUND if isinstance(error, NotFound) else HTTPStatus.BAD_REQUEST
    page = render("refused.html", why=str(error), section=section, path="", told={}, person="", now="")
    return HTMLResponse(page, status, headers=HEADERS)
