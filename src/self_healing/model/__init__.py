"""The records that cross stages: frozen, keyword-only, with times as aware datetimes.

A change is a new record (``msgspec.structs.replace``). ``None`` is unknown, zero is zero. Each enum value says what it
means. A record lives in the module of the stage that makes it.
"""

from __future__ import annotations

from self_healing.model.base import (
    CAUSE,
    OVERFLOW,
    UNKNOWN_VALUE,
    Group,
    Record,
    affected_agent,
    group_dict,
    group_label,
    idempotency_key,
    new_id,
)
from self_healing.model.decisions import UNSETTLED, Approval, ApprovalStatus, Decision, Finding, Outcome, Proposal
from self_healing.model.events import Accounting, Event, Ingested, Kind, KindName, Status, StatusName, Usage
from self_healing.model.executions import Directive, Execution, ExecutionStatus, Handoff, HandoffStatus, Snapshot
from self_healing.model.incidents import CloseReason, Incident, IncidentState, Note, Severity, Silence
from self_healing.model.verdicts import Muted, Reason, SeriesState, Transition, Verdict
from self_healing.model.verifications import Judged, Lesson, Result, Verification, VerificationPhase

__all__ = [
    "CAUSE",
    "OVERFLOW",
    "UNKNOWN_VALUE",
    "UNSETTLED",
    "Accounting",
    "Approval",
    "ApprovalStatus",
    "CloseReason",
    "Decision",
    "Directive",
    "Event",
    "Execution",
    "ExecutionStatus",
    "Finding",
    "Group",
    "Handoff",
    "HandoffStatus",
    "Incident",
    "IncidentState",
    "Ingested",
    "Judged",
    "Kind",
    "KindName",
    "Lesson",
    "Muted",
    "Note",
    "Outcome",
    "Proposal",
    "Reason",
    "Record",
    "Result",
    "SeriesState",
    "Severity",
    "Silence",
    "Snapshot",
    "Status",
    "StatusName",
    "Transition",
    "Usage",
    "Verdict",
    "Verification",
    "VerificationPhase",
    "affected_agent",
    "group_dict",
    "group_label",
    "idempotency_key",
    "new_id",
]
