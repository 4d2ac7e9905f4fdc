"""The constitution: what is proposed, what the gate decides of it, and what people answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from self_healing.model.base import Group, Record


class Proposal(Record, frozen=True, kw_only=True):
    """One action of a plan, about to run: what the gate judges."""

    id: str
    incident: str
    trigger: str
    group: Group
    action: str
    action_type: str
    step: int
    attempt: int
    target: str  # the affected agent
    target_agent: str  # who gets the handoff
    settings: dict[str, Any]  # the directives it would set
    spec_version: str
    plan_version: str
    probation: dict[str, Any] = msgspec.field(default_factory=dict)  # what it lets a paused agent back with later
    renews: str | None = None  # id of the decision that allowed what is to be set once more
    exempt_from_attempts: bool = False  # an analysis, which changes nothing in the fleet


class Outcome(StrEnum):
    """What the gate says of a proposal."""

    ALLOW = "allow"  # go
    DENY = "deny"  # never, for this step
    DEFER = "defer"  # not now; looked at again
    ASK = "ask"  # a person must say yes


class Finding(Record, frozen=True, kw_only=True):
    """What one policy of one article held against a proposal."""

    article: str  # I to V, or VI for those of a person's own
    policy: str  # the policy's id, which is also its reason in plain words, such as rate_limit
    outcome: Outcome


class Decision(Record, frozen=True, kw_only=True):
    """The gate's answer, recorded before any effect."""

    id: str
    proposal: Proposal
    at: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]  # empty when allowed
    facts: dict[str, Any]
    constitution: str = ""  # hash of the articles that it was held to, as a version of them
    entry: int | None = None  # its place in the audit log, once it is on record


class ApprovalStatus(StrEnum):
    """What became of a question to a person: pending -> approved -> used; or denied, expired, withdrawn."""

    PENDING = "pending"  # nobody has answered
    APPROVED = "approved"  # a person said yes; it is decided anew, and done then
    DENIED = "denied"  # a person said no
    EXPIRED = "expired"  # nobody said yes in time, or what was approved could not be done in time; a no
    WITHDRAWN = "withdrawn"  # it is not to be done any more, or not so
    USED = "used"  # it was approved, and the gate has allowed it


UNSETTLED = (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
"""What still may come to something else."""


class Approval(Record, frozen=True, kw_only=True):
    """A question to a person: may that be done which cannot be undone?"""

    id: str
    plan: str  # hash of the proposal, which the answer is bound to
    proposal: Proposal
    decision: str  # id of the one that asks
    execution: str
    status: ApprovalStatus
    asked_at: datetime
    expires_at: datetime
    by: str | None = None  # who answered; who ended it, where nobody did
    reason: str | None = None  # of the same
    answered_at: datetime | None = None  # when that was
    came_to: str | None = None  # what came of an answer, once that is known
    entry: int | None = None  # the place of its newest state in the audit log
