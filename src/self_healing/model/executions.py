"""What is done: executions, the directives that the fleet reads, and handoffs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from self_healing.model.base import Record
from self_healing.model.incidents import Note


class ExecutionStatus(StrEnum):
    """How a proposal or its execution stands; what `check` prints as an action's status."""

    INTENDED = "intended"  # the intent is committed; the effect may or may not have begun
    DISPATCHED = "dispatched"  # the effect is there; its outcome is still to be judged
    SUCCEEDED = "succeeded"  # the effect is there and what was asked for is done
    FAILED = "failed"  # the effect could not be brought about
    UNKNOWN = "unknown"  # a crash hid whether the effect happened, and nobody can tell; escalated
    DENIED = "denied"  # the gate said no
    DEFERRED = "deferred"  # the gate said not now
    AWAITING_APPROVAL = "awaiting_approval"  # a person must say yes
    WOULD = "would"  # observe mode: it would have been done


class Execution(Record, frozen=True, kw_only=True):
    """One proposal's way through intent, effect and outcome. Only one that the gate allowed has a key and an effect."""

    id: str
    incident: str
    trigger: str
    action: str
    step: int
    attempt: int
    target: str
    target_agent: str
    status: ExecutionStatus
    decision: str  # id of the decision that stands behind the status
    created_at: datetime
    updated_at: datetime
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    key: str | None = None  # idempotency key, with the intent
    handoff: str | None = None  # id, fixed in the intent
    effect_at: datetime | None = None  # when directives were written, the handoff was completed or ran out
    tries: int = 0
    error: str | None = None
    reason: str | None = None  # why denied or deferred


class Directive(Record, frozen=True, kw_only=True):
    """A setting that the fleet reads."""

    id: str
    agent: str
    name: str  # paused, model, max_cost_usd, token_budget, max_output_tokens, max_concurrency, timeout_s, quality_gate
    value: Any
    owner: str  # incident
    execution: str
    kind: str  # the type of its action; blast radius counts by it
    reason: str
    created_at: datetime
    expires_at: datetime
    replaced: Any = None  # what was in force before, None when nothing was
    undone_at: datetime | None = None
    undone_reason: str | None = None


Snapshot = dict[str, dict[str, list[dict[str, Any]]]]
"""By agent and setting, the values of the directives in force, the safest first."""


class HandoffStatus(StrEnum):
    """The life of a handoff: created -> delivered -> accepted -> completed | failed | expired."""

    CREATED = "created"  # its name is fixed; nothing is delivered yet
    DELIVERED = "delivered"  # it is where its recipient looks
    ACCEPTED = "accepted"  # the recipient works on it
    COMPLETED = "completed"  # the recipient says it is done
    FAILED = "failed"  # the recipient says it cannot be done
    EXPIRED = "expired"  # its deadline passed


class Handoff(Record, frozen=True, kw_only=True):
    """A handoff in the state: its message as delivered, and what became of it."""

    id: str
    incident: str
    execution: str
    target_agent: str
    about: str  # the affected agent
    status: HandoffStatus
    file: str  # name in the handoffs directory, fixed in the intent
    message: dict[str, Any]  # the nine keys, as delivered
    created_at: datetime
    deadline: datetime
    delivered_at: datetime | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    result: str | None = None  # what the recipient said
    channel: str = "file"  # by which it goes, beside its file; fixed in the intent
    served: bool = True  # whether that channel is its recipient's, rather than the fallback for whoever has none
    remote: str | None = None  # what the recipient calls it, such as the id of its task
    pause: str | None = None  # what the recipient waits for, where it says that it cannot go on by itself
    trouble: str | None = None  # why it does not say how it stands, where it was asked last
    taken_back_at: datetime | None = None  # when a notification was, as its incident was closed
    notes: tuple[Note, ...] = ()
