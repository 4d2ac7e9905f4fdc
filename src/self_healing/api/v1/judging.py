"""The constitution: what it decided, what waits for a person, the audit log, and the stop."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from self_healing.api import models
from self_healing.api.answers import as_json
from self_healing.api.v1.asked import USUAL_LIMIT, Cursor, Limit
from self_healing.api.v1.doing import Of, Open, yes
from self_healing.api.v1.source import Here
from self_healing.model import Outcome

routes = APIRouter(tags=["constitution"])


@routes.get("/constitution", response_model=models.Constitution)
async def constitution(here: Here) -> Response:
    """The articles, the limits and how much of them is used, and what was refused last."""
    return as_json(await here.ask("constitution"))


@routes.get("/decisions", response_model=models.Decisions)
async def decisions(
    here: Here,
    incident: Of = [],  # noqa: B006
    outcome: Annotated[list[Outcome], Query()] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """What the gate decided, article by article, the newest first."""
    where = {"incident": incident, "outcome": outcome}
    return as_json(await here.ask("records", kind="decisions", where=where, limit=limit, cursor=cursor))


@routes.get("/decisions/{id}", response_model=models.DecisionDetail)
async def decision(here: Here, id: str) -> Response:
    """One decision: why the gate said so, article by article, and what would have to change.

    It is named by its own id, or by that of a proposal, an execution or an approval, whose newest decision it is then.
    """
    return as_json(await here.ask("decision", id=id))


@routes.get("/approvals", response_model=models.Approvals)
async def approvals(here: Here, open: Open = None, limit: Limit = USUAL_LIMIT, cursor: Cursor = None) -> Response:
    """What people were asked, the newest first; with `open` what waits, or was approved and is not done yet."""
    return as_json(await here.ask("records", kind="approvals", where={"open": yes(open)}, limit=limit, cursor=cursor))


@routes.get("/approvals/{id}", response_model=models.ApprovalDetail)
async def approval(here: Here, id: str) -> Response:
    """One approval with all that a person must see to answer it."""
    return as_json(await here.ask("approval", id=id))


@routes.post("/approvals/{id}/approve", response_model=models.AnsweredApproval)
async def approve(here: Here, id: str, told: models.Answer) -> Response:
    """Say yes to the plan that was seen."""
    return as_json(await here.ask("approve", id=id, by=told.by, reason=told.reason, plan=told.plan))


@routes.post("/approvals/{id}/deny", response_model=models.AnsweredApproval)
async def deny(here: Here, id: str, told: models.Answer) -> Response:
    """Say no."""
    return as_json(await here.ask("deny", id=id, by=told.by, reason=told.reason, plan=told.plan))


@routes.get("/audit", response_model=models.Entries)
async def audit(
    here: Here,
    kind: Annotated[list[str], Query()] = [],  # noqa: B006
    limit: Limit = USUAL_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Entries of the audit log, the newest first."""
    return as_json(await here.ask("records", kind="entries", where={"kind": kind}, limit=limit, cursor=cursor))


@routes.get("/audit/verification", response_model=models.AuditReport)
async def verify_audit(here: Here) -> Response:
    """Whether the audit log is what was written and signed; the whole of it is read."""
    async with here.verifying:
        return as_json(await asyncio.to_thread(here.verify))


@routes.post("/stop", response_model=models.Stopped)
async def stop(here: Here, told: models.Person) -> Response:
    """Stop every effect at once; what is under way is not begun anew."""
    return as_json(await here.ask("stop", by=told.by, reason=told.reason))


@routes.post("/resume", response_model=models.Resumed)
async def resume(here: Here, told: models.Person) -> Response:
    """Let effects happen again."""
    return as_json(await here.ask("resume", by=told.by, reason=told.reason))
