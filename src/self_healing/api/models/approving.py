"""What waits for a person's yes."""

from __future__ import annotations

from pydantic import Field

from self_healing.api.models.base import At, Json, Model, Page
from self_healing.api.models.deciding import Decision
from self_healing.api.models.incidents import Incident
from self_healing.model import ApprovalStatus


class Approval(Model):
    """A question to a person: may that be done which cannot be undone?"""

    id: str
    plan: str = Field(description="the hash of what would be done, which an answer names")
    decision: str
    execution: str
    status: ApprovalStatus
    asked_at: At
    expires_at: At
    by: str | None = Field(description="who answered; who ended it, where nobody did")
    reason: str | None = Field(description="of the same")
    answered_at: At | None = Field(description="when that was")
    came_to: str | None = Field(description="what came of an answer, such as the execution that used it")
    incident: str
    trigger: str
    action: str
    action_type: str
    target: str
    target_agent: str
    settings: Json
    calls: str | None = Field(
        description="the program, server or function that would be called; null for none, or when nobody can tell now"
    )
    parameters: Json = Field(description="what that would get beside the handoff")
    spec_version: str


class Approvals(Page):
    """Approvals, the newest first."""

    approvals: list[Approval]


class AnsweredApproval(Model):
    """An approval after it was answered."""

    approval: Approval


class ApprovalDetail(Model):
    """One approval with all that a person must see to answer it."""

    approval: Approval
    incident: Incident
    decision: Decision
    facts: Json
