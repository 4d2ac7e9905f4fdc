"""Retention of the state: closed incidents with all that belongs to them go after a time, old audit entries later.

Whatever something that is not over still rests on stays. What was learnt stays too, and so do the numbers of all that
ever was; how much is gone is counted.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from self_healing.config import StorageSettings
from self_healing.constitution.audit import Audit
from self_healing.constitution.checkpoints import Checkpoints
from self_healing.handoffs.inbox import OPEN
from self_healing.loop.versions import renew
from self_healing.model import (
    Approval,
    Decision,
    Directive,
    Execution,
    Handoff,
    Incident,
    IncidentState,
    Silence,
    Verification,
)
from self_healing.storage import schema
from self_healing.storage.store import Store

DELETED: Final = "deleted"
"""The fact that counts what is gone, by kind."""

EVERY: Final = timedelta(hours=1)
SOON: Final = timedelta(seconds=10)
"""How long after a look the next one follows: sooner where there was more than one look takes."""

AT_ONCE: Final = 200
"""So many incidents go in one look at most, so that no turn waits long for it."""


class Retaining:
    """Deletes what is too old; only for the process that owns the state.

    Args:
        store: the state.
        audit: its log.
        checkpoints: signs the log, and up to where it was trimmed.
        settings: how long what is kept.
    """

    def __init__(self, store: Store, audit: Audit, checkpoints: Checkpoints, settings: StorageSettings) -> None:
        self._store = store
        self._audit = audit
        self._checkpoints = checkpoints
        self._keep = timedelta(seconds=settings.keep)
        self._keep_audit = timedelta(seconds=settings.keep_audit)
        self._due_at: datetime | None = None

    def look(self, at: datetime) -> Counter[str]:
        """Delete what is too old, where a look is due, in the transaction that is open; returns how many of what."""
        if self._due_at is not None and at < self._due_at:
            return Counter()
        gone, more = self._incidents(at)
        gone["silences"] = self._silences(at)
        gone["audit"] = self._entries(at)
        gone = +gone
        if gone:
            self._store.put_fact(DELETED, Counter(self._store.fact(DELETED) or {}) + gone)
        self._due_at = at + (SOON if more or gone["audit"] else EVERY)
        return gone

    def _incidents(self, at: datetime) -> tuple[Counter[str], bool]:
        """Closed incidents with all that belongs to them; and whether there may be more."""
        ids = self._over(at - self._keep)
        if not ids:
            return Counter(), False
        approvals = [each.id for each in self._store.select(Approval, open="no") if each.proposal.incident in ids]
        executions, decisions = schema.executions.c, schema.decisions.c
        gone = {
            "approvals": self._store.delete(Approval, schema.approvals.c.id.in_(approvals)),
            "handoffs": self._store.delete(Handoff, schema.handoffs.c.incident.in_(ids)),
            "directives": self._store.delete(Directive, schema.directives.c.owner.in_(ids)),
            "verifications": self._store.delete(Verification, schema.verifications.c.incident.in_(ids)),
            "executions": self._store.delete(Execution, executions.incident.in_(ids)),
            # In this order: no decision goes on which an execution still rests.
            "decisions": self._store.delete(
                Decision, decisions.incident.in_(ids), decisions.id.not_in(sa.select(executions.decision))
            ),
            "incidents": self._store.delete(Incident, schema.incidents.c.id.in_(ids)),
        }
        return Counter(gone), len(ids) == AT_ONCE

    def _over(self, limit: datetime) -> list[str]:
        """The incidents that closed before then and of which nothing is open any more, the oldest first."""
        id, state, closed_at = (schema.incidents.c[name] for name in ("id", "state", "closed_at"))
        handoffs, directives, verifications = schema.handoffs.c, schema.directives.c, schema.verifications.c
        rows = self._store.rows(
            sa.select(id)
            .where(
                state == IncidentState.CLOSED.value,
                closed_at < limit.astimezone(UTC).isoformat(timespec="microseconds"),
                id.not_in(sa.select(handoffs.incident).where(handoffs.status.in_(OPEN))),
                id.not_in(sa.select(directives.owner).where(directives.open == "yes")),
                id.not_in(sa.select(verifications.incident).where(verifications.open == "yes")),
            )
            .order_by(closed_at)
            .limit(AT_ONCE)
        )
        return [row.id for row in rows]

    def _silences(self, at: datetime) -> int:
        over = [each.id for each in self._store.select(Silence, open="no") if each.over_at < at - self._keep]
        return self._store.delete(Silence, schema.silences.c.id.in_(over)) if over else 0

    def _entries(self, at: datetime) -> int:
        """The oldest entries of the audit log."""
        trim = self._checkpoints.too_old(self._keep_audit, at, self._needed)
        if trim is None:
            return 0
        renew(self._store, self._audit, trim.seq + 1, at)
        return self._checkpoints.trim(trim, at)

    def _needed(self) -> int | None:
        """The oldest entry on which what is not closed rests: that of a decision which may still be acted on."""
        opened = [each.id for each in self._store.select(Incident, state=_NOT_CLOSED)]
        decisions = self._store.select(Decision, incident=opened) if opened else []
        return min((each.entry for each in decisions if each.entry is not None), default=None)


_NOT_CLOSED = tuple(state.value for state in IncidentState if state is not IncidentState.CLOSED)
