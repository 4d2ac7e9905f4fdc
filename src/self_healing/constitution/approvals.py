"""Approvals: what cannot be undone is asked for, and a person's yes is for one plan, for a short time, and once.

::

    pending -> approved -> used
       \\-> denied, expired, withdrawn

An answer is bound to the hash of the plan that was asked about: another attempt, other settings or another spec make
another plan. A yes only counts as the audit log has it, and what it is for passes the gate anew before it is done.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import msgspec

from self_healing.constitution.audit import Audit
from self_healing.errors import ApprovalRefused
from self_healing.model import (
    Approval,
    ApprovalStatus,
    Decision,
    Execution,
    ExecutionStatus,
    Incident,
    IncidentState,
    Proposal,
    new_id,
)
from self_healing.spec import Limits
from self_healing.storage.store import Store

OUR_WORD = "self-healing"
"""Who ends an approval that no person answered."""


class Answer(Enum):
    """What a person said of one very plan."""

    NONE = "none"  # nothing, or nobody was asked
    YES = "yes"  # a short while ago
    NO = "no"  # or nothing in time


def plan_of(proposal: Proposal) -> str:
    """The hash of all that a proposal would do, to whom, why and by which spec; in hex."""
    said = msgspec.to_builtins(proposal)
    del said["id"]  # another one each time that it is looked at
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


class Approvals:
    """What people are asked, and what they answered.

    Args:
        store: the state.
        audit: takes an entry for whatever becomes of an approval, in the same transaction.
    """

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def answer(self, proposal: Proposal, limits: Limits, at: datetime) -> Answer:
        """What was said of this very plan, as far as it counts at that instant."""
        found = self._store.select(Approval, plan=plan_of(proposal))
        if not found:
            return Answer.NONE
        match found[-1].status:
            case ApprovalStatus.PENDING if at < found[-1].expires_at:
                return Answer.NONE
            case ApprovalStatus.APPROVED if _fresh(found[-1], limits, at):
                return Answer.YES if self._on_record(found[-1]) else Answer.NO
            case ApprovalStatus.WITHDRAWN | ApprovalStatus.USED:
                return Answer.NONE
        return Answer.NO

    def asked(self, proposal: Proposal) -> bool:
        """Whether a person was asked about this very plan, and the question stands or has its answer."""
        found = self._store.select(Approval, plan=plan_of(proposal))
        # An incident that fires again soon after its close has the same plan, and what was asked before it is over.
        return bool(found) and found[-1].status is not ApprovalStatus.WITHDRAWN

    def ask(self, decision: Decision, execution: Execution, at: datetime, limits: Limits) -> Approval:
        """Ask a person for what `decision` could not allow; returns what was asked."""
        approval = Approval(
            id=new_id("apr"),
            plan=plan_of(decision.proposal),
            proposal=decision.proposal,
            decision=decision.id,
            execution=execution.id,
            status=ApprovalStatus.PENDING,
            asked_at=at,
            expires_at=at + timedelta(seconds=limits.approve_within),
        )
        return self._put(approval, at)

    def approve(self, id: str, by: str, reason: str, at: datetime, *, plan: str | None) -> Approval:
        """A person says yes.

        Args:
            plan: the hash of what the person saw; not compared when left out.

        Raises:
            NotFound: nothing was asked under that id.
            ApprovalRefused: it was answered, is too late, or the plan is another one by now.
        """
        approval = self._unanswered(id, by, at, plan)
        self._same_plan(approval)
        return self._end(approval, ApprovalStatus.APPROVED, at, by, reason)

    def deny(self, id: str, by: str, reason: str, at: datetime, *, plan: str | None = None) -> Approval:
        """A person says no. Raises NotFound, ApprovalRefused."""
        return self._end(self._unanswered(id, by, at, plan), ApprovalStatus.DENIED, at, by, reason)

    def settle(self, limits: Limits, at: datetime) -> list[Approval]:
        """End what ran out, was used, or is about something that is not to be done any more; returns it."""
        settled = (self._settled(each, limits, at) for each in self._store.select(Approval, open="yes"))
        return [each for each in settled if each is not None]

    def _settled(self, approval: Approval, limits: Limits, at: datetime) -> Approval | None:
        execution = self._store.get(Execution, approval.execution)
        decision = self._store.get(Decision, execution.decision)
        same = plan_of(decision.proposal) == approval.plan
        pending = approval.status is ApprovalStatus.PENDING
        if same and execution.key is not None:
            return self._over(approval, ApprovalStatus.USED, at, f"used by execution {execution.id}")
        if not same or not self._waits(execution):
            return self._over(approval, ApprovalStatus.WITHDRAWN, at, "it is not to be done any more")
        if at >= approval.expires_at if pending else not _fresh(approval, limits, at):
            why = "nobody answered in time" if pending else "it could not be done in time"
            return self._over(approval, ApprovalStatus.EXPIRED, at, why)
        return None

    def _waits(self, execution: Execution) -> bool:
        """Whether an execution still waits to be done."""
        incident = self._store.get(Incident, execution.incident)
        if execution.status not in (ExecutionStatus.AWAITING_APPROVAL, ExecutionStatus.DEFERRED):
            return False
        if execution.step < 0:  # an analysis belongs to no plan, and is made of what is escalated as well
            return incident.state is not IncidentState.CLOSED
        return incident.state is IncidentState.OPEN and incident.step == execution.step

    def _unanswered(self, id: str, by: str, at: datetime, plan: str | None) -> Approval:
        approval = self._store.get(Approval, id)
        if not by.strip():
            raise ApprovalRefused(id, "nobody says who answers; give a name")
        if approval.status is not ApprovalStatus.PENDING:
            raise ApprovalRefused(id, f"{_said(approval)}, and answered once only")
        if at >= approval.expires_at:
            raise ApprovalRefused(id, f"it ran out at {approval.expires_at:%Y-%m-%d %H:%M:%S}, which is a no")
        if plan is not None and plan != approval.plan:
            raise ApprovalRefused(id, f"it is about plan {approval.plan[:12]}, not {plan[:12]}; look at it again")
        return approval

    def _same_plan(self, approval: Approval) -> None:
        execution = self._store.get(Execution, approval.execution)
        decision = self._store.get(Decision, execution.decision)
        if plan_of(decision.proposal) != approval.plan:
            raise ApprovalRefused(approval.id, "the plan changed since; it is asked anew")
        if not self._waits(execution):
            raise ApprovalRefused(approval.id, f"incident {approval.proposal.incident} does not wait for it any more")

    def _over(self, approval: Approval, status: ApprovalStatus, at: datetime, what: str) -> Approval:
        """It ended otherwise than by an answer; the answer that it had stays beside what came of it."""
        if approval.by is None:
            return self._end(approval, status, at, OUR_WORD, what)
        return self._put(msgspec.structs.replace(approval, status=status, came_to=what), at)

    def _end(self, approval: Approval, status: ApprovalStatus, at: datetime, by: str, reason: str) -> Approval:
        return self._put(msgspec.structs.replace(approval, status=status, by=by, reason=reason, answered_at=at), at)

    def _put(self, approval: Approval, at: datetime) -> Approval:
        with self._store.joined():
            entry = self._audit.append("approval", _told(approval), at)
            kept = msgspec.structs.replace(approval, entry=entry.seq)
            self._store.put(kept)
        return kept

    def _on_record(self, approval: Approval) -> bool:
        """Whether the audit log has it just so: a yes that somebody wrote into the state alone is none."""
        entry = None if approval.entry is None else self._audit.entry(approval.entry)
        return (
            plan_of(approval.proposal) == approval.plan
            and entry is not None
            and entry.kind == "approval"
            and _canonical(entry.payload) == _canonical(_told(approval))
        )


def _fresh(approval: Approval, limits: Limits, at: datetime) -> bool:
    """Whether a yes is new enough to act on, as a decision must be."""
    since = approval.answered_at
    return since is not None and at - since <= timedelta(seconds=limits.plan_freshness)


def _said(approval: Approval) -> str:
    """How an approval that was answered or is over stands, in words."""
    when = "" if approval.answered_at is None else f" at {approval.answered_at:%Y-%m-%d %H:%M:%S}"
    if approval.came_to is None:
        return f"it is {approval.status.value} by {approval.by}{when}"
    return f"it is {approval.status.value} (approved by {approval.by}{when}; {approval.came_to})"


def _told(approval: Approval) -> dict[str, Any]:
    """What the audit log takes of an approval: what was asked, and all that was said of it."""
    proposal = approval.proposal
    came_to = {} if approval.came_to is None else {"came_to": approval.came_to}
    return {
        **came_to,
        "approval": approval.id,
        "status": approval.status.value,
        "plan": approval.plan,
        "incident": proposal.incident,
        "action": proposal.action,
        "target": proposal.target,
        "execution": approval.execution,
        "decision": approval.decision,
        "expires_at": approval.expires_at.isoformat(),
        "by": approval.by,
        "reason": approval.reason,
        "answered_at": None if approval.answered_at is None else approval.answered_at.isoformat(),
    }


def _canonical(payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode(payload, order="sorted")
