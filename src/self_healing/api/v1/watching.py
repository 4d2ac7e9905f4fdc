"""What is watched for, and what is seen."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.exceptions import HTTPException
from starlette.responses import Response

from self_healing.api import models
from self_healing.api.answers import as_json
from self_healing.api.models.base import StateName
from self_healing.api.v1.asked import USUAL_LIMIT, Cursor, Limit
from self_healing.api.v1.looking import When
from self_healing.api.v1.source import Here
from self_healing.clock import from_us
from self_healing.explaining.explain import Question
from self_healing.telemetry.query.instants import instant_us

LONGEST_S: Final = 24 * 3600
"""No stretch of history that is explained is longer."""


routes = APIRouter(tags=["triggers"])


@routes.get("/triggers", response_model=models.Triggers)
async def triggers(here: Here) -> Response:
    """Every trigger that is declared, and how many of its series fire."""
    return as_json(await here.ask("triggers"))


@routes.get("/triggers/{name}", response_model=models.TriggerDetail)
async def trigger(here: Here, name: str) -> Response:
    """One trigger as declared, and the verdict of each of its series."""
    return as_json(await here.ask("trigger", name=name))


@routes.post("/triggers/{name}/enable", response_model=models.Switched)
async def enable_trigger(here: Here, name: str, told: models.Named) -> Response:
    """Switch a trigger on."""
    return as_json(await here.ask("enable", name=name, by=told.by))


@routes.post("/triggers/{name}/disable", response_model=models.Switched)
async def disable_trigger(here: Here, name: str, told: models.Named) -> Response:
    """Switch a trigger off; what it has open is closed."""
    return as_json(await here.ask("disable", name=name, by=told.by))


@routes.get("/triggers/{name}/explain", response_model=models.Explanation)
async def explain(
    here: Here,
    name: str,
    group: Annotated[list[str], Query(description="which of its series, such as `agent=Coder`; all without")] = [],  # noqa: B006
    at: When = None,
    span_s: Annotated[
        int, Query(ge=60, le=LONGEST_S, description="how much of the time before is told of one series")
    ] = 3600,
) -> Response:
    """Why a trigger fires or does not; now, or at any time that is stored."""
    question = Question(trigger=name, keys=_keys(group), at=_at(at, here), span=timedelta(seconds=span_s))
    async with here.explaining:
        return as_json(await asyncio.to_thread(here.explain, question))


@routes.get("/series", response_model=models.SeriesPage)
async def series(
    here: Here,
    trigger: Annotated[list[str], Query()] = [],  # noqa: B006
    state: Annotated[list[StateName], Query()] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """The verdict of every series at the last instant that was evaluated, by trigger and group."""
    return as_json(await here.ask("series", triggers=trigger, states=state, limit=limit, cursor=cursor))


@routes.get("/transitions", response_model=models.Transitions)
async def transitions(
    here: Here,
    trigger: Annotated[list[str], Query()] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Every change of a series' state with the verdict that made it, the newest first."""
    where = {"trigger": trigger}
    return as_json(await here.ask("records", kind="transitions", where=where, limit=limit, cursor=cursor))


def _keys(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise HTTPException(400, f"group {pair!r}: allowed is a key and a value, such as agent=Coder")
        found[key] = value
    return found


def _at(text: str | None, here: Here) -> datetime | None:
    try:
        return None if text is None else from_us(instant_us(text, here.now()))
    except ValueError as error:
        raise HTTPException(400, f"at {error}") from error
