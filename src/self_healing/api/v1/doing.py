"""Incidents and what is done about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from self_healing.api import models
from self_healing.api.answers import as_json
from self_healing.api.v1.asked import USUAL_LIMIT, Cursor, Limit
from self_healing.api.v1.source import Here
from self_healing.model import ExecutionStatus, HandoffStatus, IncidentState

Of = Annotated[list[str], Query(description="ids of incidents")]
Open = Annotated[bool | None, Query(description="only those that may still come to something else, or only the others")]


def yes(wanted: bool | None) -> list[str]:
    """What a look-up column says of `wanted`."""
    return [] if wanted is None else ["yes" if wanted else "no"]


routes = APIRouter(tags=["incidents"])


@routes.get("/incidents", response_model=models.Incidents)
async def incidents(
    here: Here,
    state: Annotated[list[IncidentState], Query()] = [],  # noqa: B006
    trigger: Annotated[list[str], Query()] = [],  # noqa: B006
    agent: Annotated[list[str], Query(description="agents that they are about")] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Incidents, the newest first, without their timelines."""
    where = {"state": state, "trigger": trigger, "agent": agent}
    return as_json(await here.ask("records", kind="incidents", where=where, limit=limit, cursor=cursor))


@routes.get("/incidents/{id}", response_model=models.IncidentDetail)
async def incident(here: Here, id: str) -> Response:
    """One incident with its timeline, and all that was decided, done and found out about it."""
    return as_json(await here.ask("incident", id=id))


@routes.post("/incidents/{id}/ack", response_model=models.ChangedIncident)
async def acknowledge_incident(here: Here, id: str, told: models.Person) -> Response:
    """Say that a person has seen it."""
    return as_json(await here.ask("ack", id=id, by=told.by, reason=told.reason))


@routes.post("/incidents/{id}/close", response_model=models.ChangedIncident)
async def close_incident(here: Here, id: str, told: models.Person) -> Response:
    """Say that it is none."""
    return as_json(await here.ask("close", id=id, by=told.by, reason=told.reason))


@routes.get("/actions", response_model=models.Actions)
async def actions(here: Here) -> Response:
    """Every action that is declared, and how well it works."""
    return as_json(await here.ask("actions"))


@routes.get("/executions", response_model=models.Executions)
async def executions(
    here: Here,
    incident: Of = [],  # noqa: B006
    status: Annotated[list[ExecutionStatus], Query()] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Executions, the newest first."""
    where = {"incident": incident, "status": status}
    return as_json(await here.ask("records", kind="executions", where=where, limit=limit, cursor=cursor))


@routes.get("/executions/{id}", response_model=models.ExecutionDetail)
async def execution(here: Here, id: str) -> Response:
    """One execution."""
    return as_json(await here.ask("execution", id=id))


@routes.get("/verifications", response_model=models.Verifications)
async def verifications(
    here: Here,
    incident: Of = [],  # noqa: B006
    open: Open = None,
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Verifications, the newest first."""
    where = {"incident": incident, "open": yes(open)}
    return as_json(await here.ask("records", kind="verifications", where=where, limit=limit, cursor=cursor))


@routes.get("/directives", response_model=models.Directives)
async def directives(
    here: Here,
    agent: Annotated[list[str], Query()] = [],  # noqa: B006
    incident: Of = [],  # noqa: B006
    open: Annotated[bool | None, Query(description="only those that nobody has undone, or only the others")] = None,
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Directives, the newest first, those that are over too."""
    where = {"agent": agent, "owner": incident, "open": yes(open)}
    return as_json(await here.ask("records", kind="directives", where=where, limit=limit, cursor=cursor))


@routes.get("/directives/effective", response_model=models.Effective)
async def effective(here: Here) -> Response:
    """The settings in force now, by agent and name."""
    return as_json({"effective": (await here.ask("directives"))["effective"]})


@routes.post("/directives/{id}/undo", response_model=models.UndoneDirectives)
async def undo_directive(here: Here, id: str, told: models.Person) -> Response:
    """Undo a directive at once."""
    return as_json(await here.ask("undo", ids=[id], by=told.by, reason=told.reason))


@routes.get("/handoffs", response_model=models.Handoffs)
async def handoffs(
    here: Here,
    status: Annotated[list[HandoffStatus], Query()] = [],  # noqa: B006
    incident: Of = [],  # noqa: B006
    agent: Annotated[list[str], Query(description="agents that they are about, or for")] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Handoffs, the newest first, without their messages."""
    where = {"status": status, "incident": incident, "agent": agent}
    return as_json(await here.ask("records", kind="handoffs", where=where, limit=limit, cursor=cursor))


@routes.get("/handoffs/{id}", response_model=models.HandoffDetail)
async def handoff(here: Here, id: str) -> Response:
    """One handoff with its message and its thread."""
    return as_json(await here.ask("handoff", id=id))


@routes.post("/handoffs/{id}/accept", response_model=models.MovedHandoff)
async def accept_handoff(here: Here, id: str, told: models.Named) -> Response:
    """Say that somebody works on it."""
    return as_json(await here.ask("accept", id=id, by=told.by))


@routes.post("/handoffs/{id}/complete", response_model=models.MovedHandoff)
async def complete_handoff(here: Here, id: str, told: models.Finished) -> Response:
    """Say that it is done."""
    return as_json(await here.ask("complete", id=id, by=told.by, result=told.result))


@routes.post("/handoffs/{id}/fail", response_model=models.MovedHandoff)
async def fail_handoff(here: Here, id: str, told: models.Finished) -> Response:
    """Say that it cannot be done."""
    return as_json(await here.ask("fail", id=id, by=told.by, result=told.result))


@routes.get("/silences", response_model=models.Silences)
async def silences(
    here: Here,
    open: Annotated[bool | None, Query(description="only those that are not over, or only the others")] = None,
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Silences, the newest first."""
    return as_json(await here.ask("records", kind="silences", where={"open": yes(open)}, limit=limit, cursor=cursor))


@routes.post("/silences", response_model=models.AddedSilence)
async def silence(here: Here, told: models.Mute) -> Response:
    """Have some series open no incident for a time."""
    given = told.model_dump(mode="json", exclude_none=True)
    return as_json(await here.ask("silence", **given))


@routes.post("/silences/{id}/remove", response_model=models.ChangedSilence)
async def remove_silence(here: Here, id: str, told: models.Named) -> Response:
    """End a silence early."""
    return as_json(await here.ask("unsilence", id=id, by=told.by))
