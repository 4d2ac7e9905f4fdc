"""Incidents: the story of a series that fired, and the silences that keep one from opening."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from self_healing.model.base import CAUSE, Group, Record


class Severity(StrEnum):
    LOW = "low"  # look at it some day
    MEDIUM = "medium"  # look at it today
    HIGH = "high"  # look at it now
    CRITICAL = "critical"  # people are hurt by it now


class IncidentState(StrEnum):
    """Where an incident stands.

    ::

        open -> acting -> verifying -> mitigated -> closed
          \\________\\__________\\___________\\-> escalated -> closed
        closed -> open (firing again within an hour)
    """

    OPEN = "open"  # detected; a proposal is due, or waits its turn
    ACTING = "acting"  # an effect is under way
    VERIFYING = "verifying"  # the effect is there; samples begun after it are gathered
    MITIGATED = "mitigated"  # good under a directive; undone next, to see whether it stays good
    ESCALATED = "escalated"  # a person has it; no more actions
    CLOSED = "closed"  # over, with a reason


class CloseReason(StrEnum):
    HEALED = "healed"  # verified good with nothing left in force
    RECOVERED = "recovered"  # went away before anything was done, or with no credit due
    NO_DATA = "no_data"  # 24 h without enough samples
    SUPPRESSED = "suppressed"  # its series was muted by a person
    DISMISSED = "dismissed"  # a person said that it is none


class Note(Record, frozen=True, kw_only=True):
    """One line of an incident's timeline."""

    at: datetime
    what: str  # detected, decided, acted, verified, ... one word
    text: str


class Incident(Record, frozen=True, kw_only=True):
    """The story of a series that fired, from detection to its close."""

    id: str
    trigger: str
    group: Group
    severity: Severity
    state: IncidentState
    opened_at: datetime  # of this opening: reopening sets it anew
    first_opened_at: datetime
    value: float | None  # when it opened
    threshold: float | None
    baseline: float | None
    peak: float | None  # the worst value seen so far
    spec_version: str
    plan: tuple[str, ...]  # names of actions, in order
    plan_version: str
    step: int = 0  # which action of the plan is next or under way
    execution: str | None = None  # the newest one
    verification: str | None = None  # the newest one
    attempts: int = 0  # effects begun, and relapses
    given_back: int = 0  # attempts whose effect never began after all; their keys are not used again
    relapses: int = 0
    pauses: int = 0  # how often probation failed and the pause began anew
    hold_s: float = 300.0  # how long a directive stays after it did good, before it is undone to see
    reopened: int = 0
    updated_at: datetime
    closed_at: datetime | None = None
    close_reason: CloseReason | None = None
    closed_by: str | None = None
    escalated_at: datetime | None = None
    escalation: str | None = None  # why
    acknowledged_by: str | None = None
    mitigated_at: datetime | None = None
    parent: str | None = None  # the incident that hands over for it and for others that share a cause
    worst_ending: CloseReason | None = None  # of a parent: the least good with which one beneath it was closed
    notes: tuple[Note, ...] = ()

    @property
    def next_attempt(self) -> int:
        """The number of its next attempt, under which it has its idempotency key; no two have the same."""
        return self.attempts + self.given_back

    @property
    def is_parent(self) -> bool:
        """Whether it stands for several series that share a cause, and is about no series of its own."""
        return bool(self.group) and self.group[0][0] == CAUSE


class Silence(Record, frozen=True, kw_only=True):
    """A person's word that some series are to open no incident for a time."""

    id: str
    trigger: str | None  # whose series; None: of every trigger
    keys: dict[str, str]  # what a group must have among its own, such as {"agent": "Coder"}
    by: str
    reason: str
    created_at: datetime
    starts_at: datetime  # not before it was created
    ends_at: datetime  # by itself
    removed_at: datetime | None = None  # by a person, earlier
    removed_by: str | None = None
    settled: bool = False  # the loop has seen that it is over

    @property
    def over_at(self) -> datetime:
        """When it ends, or ended."""
        return self.ends_at if self.removed_at is None else min(self.removed_at, self.ends_at)
