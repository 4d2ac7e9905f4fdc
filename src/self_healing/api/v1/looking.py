"""How it stands, what came in, and who is there."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.exceptions import HTTPException
from starlette.responses import Response

from self_healing.api import models
from self_healing.api.answers import as_json
from self_healing.api.v1.asked import USUAL_LIMIT, Cursor, Limit
from self_healing.api.v1.source import Here
from self_healing.model import KindName, StatusName
from self_healing.telemetry.query.instants import instant_us
from self_healing.telemetry.query.pages import Page, page
from self_healing.telemetry.query.rows import Wanted

MOST_EVENTS: Final = 1_000
"""So many events a page has at the very most."""

Several = Annotated[list[str], Query()]
When = Annotated[
    str | None, Query(max_length=100, description="a length of time before now such as `15m`, or a time with its zone")
]


routes = APIRouter(tags=["state"])


@routes.get("/health", response_model=models.Health)
async def health(here: Here) -> Response:
    """Whether self-healing itself is well, and why not."""
    return as_json(await here.ask("health"))


@routes.get("/status", response_model=models.Status)
async def status(here: Here) -> Response:
    """How fleet and framework are."""
    return as_json(await here.ask("status"))


@routes.get("/telemetry", response_model=models.Telemetry)
async def telemetry(here: Here) -> Response:
    """What became of every event, where telemetry comes from, and what could not be used."""
    told = await here.ask("status")
    return as_json({name: told[name] for name in models.Telemetry.model_fields})


@routes.get("/events", response_model=models.Events)
async def events(
    here: Here,
    agent: Several = [],  # noqa: B006 FastAPI copies them
    task: Several = [],  # noqa: B006
    kind: Annotated[list[KindName], Query()] = [],  # noqa: B006
    status: Annotated[list[StatusName], Query()] = [],  # noqa: B006
    model: Several = [],  # noqa: B006
    source: Several = [],  # noqa: B006
    trace: Several = [],  # noqa: B006
    incident: Annotated[str | None, Query(description="what this incident is about")] = None,
    since: When = None,
    until: When = None,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS, description="so many a page")] = 50,
    cursor: Cursor = None,
) -> Response:
    """Stored events, the newest first, from the fleet's files and from what came in otherwise.

    It locks nothing, and holds up nobody who sends.
    """
    about: dict[str, Any] = {} if incident is None else (await here.ask("incident", id=incident))["evidence"]
    now = here.now()
    wanted = Wanted(
        agents=(*agent, *about.get("agent", ())),
        tasks=tuple(task),
        kinds=tuple(kind),
        statuses=tuple(status),
        models=(*model, *about.get("model", ())),
        sources=tuple(source),
        traces=tuple(trace),
        since_us=_instant_us("since", about.get("since") if since is None else since, now),
        until_us=_instant_us("until", about.get("until") if until is None else until, now),
    )
    try:
        async with here.looking:
            return as_json(_told(await asyncio.to_thread(page, here.places, wanted, limit, cursor)))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


@routes.get("/agents", response_model=models.Agents)
async def agents(here: Here, limit: Limit = USUAL_LIMIT, cursor: Cursor = None) -> Response:
    """Every agent that was heard of, those with an open incident first, and by name.

    One whose incident opens or closes between two pages changes its place, and may be on both or on neither.
    """
    return as_json(await here.ask("agents", limit=limit, cursor=cursor))


@routes.get("/agents/{name:path}", response_model=models.AgentDetail)
async def agent(here: Here, name: str) -> Response:
    """One agent: its series, its directives, and what concerned it."""
    return as_json(await here.ask("agent", name=name))


def _instant_us(name: str, text: str | None, now: Any) -> int | None:
    try:
        return None if text is None else instant_us(text, now)
    except ValueError as error:
        raise HTTPException(400, f"{name} {error}") from error


def _told(found: Page) -> dict[str, Any]:
    return {"events": [row.told for row in found.rows], "warnings": found.warnings, "next": found.cursor}
