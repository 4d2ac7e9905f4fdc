"""Pages: each is one question to the service, and a template.

Nothing is changed by a GET. A form is a POST, which the guard lets through only from a page of this port, and is
answered with the page to go on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from self_healing.api.looking import Ask
from self_healing.dashboard.changes import Changes
from self_healing.dashboard.refusing import HEADERS, refused, viewer
from self_healing.dashboard.rendering import render
from self_healing.dashboard.trying import threshold_of, try_threshold
from self_healing.errors import SelfHealingError
from self_healing.explaining.explain import Question
from self_healing.model import CAUSE
from self_healing.telemetry.query.files import Places

Json = dict[str, Any]
Look = Callable[[Request], Awaitable[Json | None]]
"""What a page says; None where whoever follows it has seen all of that."""

Tell = Callable[..., Awaitable[Json]]
Explain = Callable[[Question], Json]

STATIC: Final = Path(__file__).parent / "static"

BEFORE: Final = timedelta(minutes=30)
AFTER: Final = timedelta(minutes=10)
LONGEST: Final = timedelta(hours=24)
"""What a chart of an incident shows beside it, and at most in all."""

SHOWN: Final = 100
"""So many of the newest are listed."""

MOST_THREADS: Final = 10
"""So many of an incident's newest handoffs are told with what was said of each."""

CHARTS: Final = 50
"""So many charts are kept, for whoever asks before anything changes."""

VERIFIED_FOR: Final = timedelta(minutes=1)
"""However often the page of the audit log is asked for, the whole log is read no more often than this."""

REMEMBERED_S: Final = 365 * 86400
GOOD: Final = frozenset(("healed", "mitigated", "recovered"))
BAD: Final = frozenset(("detected", "reopened", "relapse", "escalated"))
"""Which marks of a timeline are good news, and which bad."""

WHO: Final = ("by", "reason")
"""Who does something, and why: what most forms ask for."""

PERSON: Final = "person"
"""The cookie that keeps the name under which a person acted last, so that it need not be typed again."""


class Pages:
    """What the pages are made of.

    Args:
        ask: asks the service one of its commands.
        explain: explains a trigger; it may take a while, and is called on a thread.
        verify: whether the audit log is whole; called on a thread like that.
        changes: what is new.
        now: the present instant, as the service has it.
        places: where history is that somebody tries a trigger on.
        environment: which of several fleets this is; it stands on each page.
    """

    def __init__(
        self,
        ask: Ask,
        explain: Explain,
        verify: Callable[[], Json],
        changes: Changes,
        now: Callable[[], datetime],
        places: Places,
        environment: str = "",
    ) -> None:
        self._environment = environment
        self._places = places
        self._ask = ask
        self._explain = explain
        self._now = now
        self._changes = changes
        self._verify = verify
        self._verifying = asyncio.Lock()
        self._verified: tuple[datetime, Json] | None = None  # when, and what was found
        self._trying = asyncio.Lock()
        self._drawing = asyncio.Lock()
        self._drawn: dict[tuple[Any, ...], tuple[int, Json]] = {}  # of which version, by what it is about
        self._made: dict[
            tuple[Any, ...], tuple[tuple[int, int], asyncio.Task[str | None]]
        ] = {}  # by path and person, of which version

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            self._page("/", "now.html", "Now", lambda _: self._ask("overview")),
            self._page("/incidents", "incidents.html", "Incidents", self._history),
            self._page("/incidents/{id}", "incident.html", "Incidents", self._incident),
            self._page("/triggers", "triggers.html", "Triggers", lambda _: self._ask("sparks")),
            self._page("/triggers/{name}", "trigger.html", "Triggers", self._trigger),
            self._page("/actions", "actions.html", "Actions", lambda _: self._ask("actions")),
            self._page("/agents", "agents.html", "Agents", self._agents),
            self._page("/agents/{name:path}", "agent.html", "Agents", self._agent),
            self._page("/handoffs", "handoffs.html", "Handoffs", self._handoffs),
            self._page("/handoffs/{id}", "handoff.html", "Handoffs", self._handoff),
            self._page("/approvals", "approvals.html", "Approvals", partial(self._records, "approvals")),
            self._page("/approvals/{id}", "approval.html", "Approvals", self._approval),
            self._page("/constitution", "constitution.html", "Constitution", lambda _: self._ask("constitution")),
            self._page("/audit", "audit.html", "Audit", self._audit),
            self._page("/stop", "stop.html", "Stop", lambda _: self._ask("status")),
            self._page("/incidents/{id}/chart", "chart.html", "", self._incident_chart),
            self._page("/triggers/{name}/try", "trying.html", "Triggers", self._try),
            self._form("/incidents/{id}/ack", partial(self._ask, "ack"), "/incidents/{id}", WHO),
            self._form("/incidents/{id}/close", partial(self._ask, "close"), "/incidents/{id}", WHO),
            self._form("/handoffs/{id}/accept", partial(self._ask, "accept"), "/handoffs/{id}", ("by",)),
            self._form("/handoffs/{id}/complete", partial(self._ask, "complete"), "/handoffs/{id}", ("by", "result")),
            self._form("/handoffs/{id}/fail", partial(self._ask, "fail"), "/handoffs/{id}", ("by", "result")),
            self._form("/approvals/{id}/approve", partial(self._ask, "approve"), "/approvals/{id}", (*WHO, "plan")),
            self._form("/approvals/{id}/deny", partial(self._ask, "deny"), "/approvals/{id}", (*WHO, "plan")),
            self._form("/agents/{name:path}/undo/{id}", self._undo, "/agents/{name}", WHO),
            self._form("/stop", partial(self._ask, "stop"), "/stop", WHO),
            self._form("/resume", partial(self._ask, "resume"), "/stop", WHO),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def _records(self, kind: str, request: Request, **where: list[str]) -> Json:
        cursor = request.query_params.get("cursor")
        return await self._ask("records", kind=kind, where=where, limit=SHOWN, cursor=cursor)

    async def _history(self, request: Request) -> Json:
        agents = request.query_params.getlist("agent")
        cursor = request.query_params.get("cursor")
        return await self._ask("history", limit=SHOWN, cursor=cursor, agents=agents) | {"agents": agents}

    async def _handoffs(self, request: Request) -> Json:
        agents = request.query_params.getlist("agent")
        return await self._records("handoffs", request, agent=agents) | {"agents": agents}

    async def _incident(self, request: Request) -> Json | None:
        id = request.path_params["id"]
        handed = await self._ask("handed", id=id, newest=MOST_THREADS)
        told: Json = {"grows": self._until(handed) is None}
        if handed["mark"] is not None:  # whoever follows one that is closed says what they have seen of it
            seen = f"{handed['mark']}{'+' if told['grows'] else ''}"
            if request.query_params.get("seen") == seen:
                return None
            told["path"] = f"/incidents/{id}?{urlencode({'seen': seen})}"
        return await self._ask("incident", id=id) | handed | told

    async def _trigger(self, request: Request) -> Json:
        told = await self._ask("trigger", name=request.path_params["name"])
        found = {"threshold": threshold_of(told["trigger"])}
        return told | found | {"explained": await self._ask("explain", name=request.path_params["name"])}

    async def _try(self, request: Request) -> Json:
        """Two thresholds on stored history: on a thread, one at a time."""
        told = await self._ask("trigger", name=request.path_params["name"])
        text = request.query_params.get("threshold", "")
        async with self._trying:
            tried = await asyncio.to_thread(try_threshold, self._places, told["trigger"], text, self._now())
        return told | {"tried": tried}

    async def _agents(self, request: Request) -> Json:
        return await self._ask("agents", limit=SHOWN, cursor=request.query_params.get("cursor"))

    async def _agent(self, request: Request) -> Json:
        return await self._ask("agent", name=request.path_params["name"])

    async def _undo(self, name: str, id: str, **who: str) -> Json:
        return await self._ask("undo", ids=[id], **who)

    async def _handoff(self, request: Request) -> Json:
        return await self._ask("handoff", id=request.path_params["id"])

    async def _audit(self, request: Request) -> Json:
        """The newest entries, and whether the log is whole: that takes a while, so not on the loop's thread."""
        now = self._now()
        async with self._verifying:
            if self._verified is None or now - self._verified[0] > VERIFIED_FOR:
                self._verified = now, await asyncio.to_thread(self._verify)
        at, report = self._verified
        newest = await self._ask("records", kind="entries", cursor=request.query_params.get("cursor"))
        decided = (await self._ask("records", kind="decisions", limit=SHOWN))["decisions"]
        done = (await self._ask("records", kind="executions", limit=SHOWN))["executions"]
        known = {each[key]: each for key in ("incident", "id") for each in (*decided, *done)}
        return report | {
            "newest": [each | _about(each["payload"], known) for each in newest["entries"]],
            "next": newest["next"],
            "verified_at": at.isoformat(),
        }

    async def _approval(self, request: Request) -> Json:
        return await self._ask("approval", id=request.path_params["id"])

    async def _incident_chart(self, request: Request) -> Json:
        """The signal from half an hour before the opening until ten minutes after the close, or now."""
        incident = (await self._ask("incident", id=request.path_params["id"]))["incident"]
        if dict(incident["group"]).get(CAUSE) is not None:
            return {"chart": None, "warnings": ["what it is about is drawn at each incident beneath it"]}
        until = self._until(incident)
        span = min((until or self._now()) - datetime.fromisoformat(incident["opened_at"]) + BEFORE, LONGEST)
        return await self._chart(incident["trigger"], incident["group"], until, span)

    def _until(self, told: Json) -> datetime | None:
        """Where the chart of an incident ends; None where that is now."""
        if told["closed_at"] is None:
            return None
        until = datetime.fromisoformat(told["closed_at"]) + AFTER
        return until if until <= self._now() else None

    async def _chart(self, trigger: str, keys: Mapping[str, str], at: datetime | None, span: timedelta) -> Json:
        """One at a time, so that no number of them keeps others waiting; and once for all who look at the same."""
        key = (trigger, *keys.items(), at)
        question = Question(trigger=trigger, keys=keys, at=at, span=span, drawn=True)
        async with self._drawing:
            version, found = self._changes.version, self._drawn.pop(key, None)
            if found is None or found[0] != version:
                told = await asyncio.to_thread(self._explain, question)
                found = version, {"chart": _drawn(told), "warnings": told["warnings"]}
            self._drawn = {key: found} | dict(list(self._drawn.items())[: CHARTS - 1])
        return found[1]

    # -- how pages are answered

    def _page(self, path: str, template: str, section: str, look: Look) -> Route:
        async def page(request: Request) -> Response:
            try:
                made = await self._rendered(request, template, section, look)
            except SelfHealingError as error:
                return refused(request, error, section, self._environment)
            if made is None:
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=HEADERS)
            return HTMLResponse(made, headers=HEADERS)

        return Route(path, page, methods=["GET"])

    async def _rendered(self, request: Request, template: str, section: str, look: Look) -> str | None:
        """The page; made once for everybody who asks for it within a second in which nothing changes."""
        person = unquote(request.cookies.get(PERSON, ""))
        # Of each person, and of those who may do the same: what they may not do, their page does not offer.
        key = (f"{request.url.path}?{request.url.query}", person, *viewer(request).values())
        version = (self._changes.version, int(self._now().timestamp()))  # what a page says of the present grows old
        known = self._made.get(key)
        if known is None or known[0] != version or (known[1].done() and known[1].exception() is not None):
            made = asyncio.ensure_future(self._make(request, template, section, look, person))
            made.add_done_callback(_heeded)
            self._made = {each: old for each, old in self._made.items() if old[0] == version}
            known = self._made[key] = (version, made)
        return await asyncio.shield(known[1])

    async def _make(self, request: Request, template: str, section: str, look: Look, person: str) -> str | None:
        told = await look(request)
        if told is None:
            return None
        return render(
            template,
            told=told,
            section=section,
            path=told.get("path") or request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            person=person,
            **viewer(request),
            now=self._now().isoformat(),
            environment=self._environment,
        )

    def _form(self, path: str, tell: Tell, then: str, fields: tuple[str, ...]) -> Route:
        """A route on which a form tells the service something.

        Args:
            path: of the route; what it names is what is told of, whatever the form says.
            tell: tells it.
            then: the page to go on with, made of the path.
            fields: what of the form is told; the rest is not looked at.
        """

        async def act(request: Request) -> Response:
            async with request.form(max_files=0, max_fields=20) as form:
                told_of = {name: value for name, value in form.items() if name in fields}
            said = {name: value.strip() for name, value in told_of.items() if isinstance(value, str)}
            given = {name: value for name, value in said.items() if value or name in WHO}
            try:
                await tell(**given, **request.path_params)
            except SelfHealingError as error:
                return refused(request, error, "", self._environment)
            place = then.format(**{name: quote(value) for name, value in request.path_params.items()})
            answer = RedirectResponse(place, HTTPStatus.SEE_OTHER, headers=HEADERS)
            answer.set_cookie(PERSON, quote(given["by"]), max_age=REMEMBERED_S, httponly=True, samesite="strict")
            return answer

        return Route(path, act, methods=["POST"])


def _heeded(made: asyncio.Task[str | None]) -> None:
    """Take notice of how it ended: whoever asked may have gone, and asyncio would log that nobody did."""
    if not made.cancelled():
        made.exception()


def _about(payload: Json, known: Mapping[str, Json]) -> Json:
    """Whom an entry of the audit log is about, and which incident, as it says or as what it is of says."""
    asked = (str(payload.get(name)) for name in ("execution", "decision", "incident"))
    of = next((known[each] for each in asked if each in known), {})
    agent = payload.get("agent") or (payload.get("group") or {}).get("agent") or of.get("target")
    return {"agent": agent, "incident": payload.get("incident") or of.get("incident")}


def _with_room(points: list[Json], marks: list[Json]) -> list[Json]:
    """The points, and one of which nothing is known for whatever happened before the first or after the last of them.

    A chart reaches as far as its points: the moment of firing of an agent's very first task lies before them.
    """
    first, last = (datetime.fromisoformat(points[at]["at"]) for at in (0, -1))
    apart = sorted({each["at"] for each in marks}, key=datetime.fromisoformat)
    room = [{"at": at, "value": None, "threshold": None, "baseline": None} for at in apart]
    before = [each for each in room if datetime.fromisoformat(each["at"]) < first]
    after = [each for each in room if datetime.fromisoformat(each["at"]) > last]
    return [*before, *points, *after]


def _drawn(told: Json) -> Json | None:
    """What a chart shows of an explanation; None where there is nothing to draw."""
    history = told["history"]
    if history is None or not history["points"]:
        return None
    points = _with_room(history["points"], history["marks"])
    drawn = (("value", "value"), ("limit", "threshold"), ("usual", "baseline"))
    lines = [
        {"label": label, "values": [each[name] for each in points], "dashed": name != "value"}
        for label, name in drawn
        if name != "baseline" or any(each[name] is not None for each in points)
    ]
    marks = [
        {"at": each["at"], "what": each["what"], "good": each["what"] in GOOD, "bad": each["what"] in BAD}
        for each in history["marks"]
    ]
    return {
        "at": [each["at"] for each in points],
        "unit": told["unit"],
        "series": lines,
        "marks": marks,
        "rising": told["rising"],
    }
