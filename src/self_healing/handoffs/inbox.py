"""The life of handoffs in the state, from delivery to their end.

::

    created -> delivered -> accepted -> completed | failed | expired
                        \\-----------> completed | failed | expired
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from self_healing.errors import HandoffRefused, SelfHealingError
from self_healing.handoffs.channel import Progress, Stage
from self_healing.handoffs.cleaning import clean_text
from self_healing.model import Handoff, HandoffStatus, Note
from self_healing.storage.store import Store

MOST_NOTES = 200

ENDED = (HandoffStatus.COMPLETED, HandoffStatus.FAILED, HandoffStatus.EXPIRED)
OPEN = (HandoffStatus.CREATED, HandoffStatus.DELIVERED, HandoffStatus.ACCEPTED)

ALLOWED: dict[HandoffStatus, tuple[HandoffStatus, ...]] = {
    # One whose delivery failed, or of which nobody can tell, ends without having been anywhere.
    HandoffStatus.CREATED: (HandoffStatus.DELIVERED, HandoffStatus.FAILED, HandoffStatus.EXPIRED),
    HandoffStatus.DELIVERED: (HandoffStatus.ACCEPTED, *ENDED),
    HandoffStatus.ACCEPTED: ENDED,
    HandoffStatus.COMPLETED: (),
    HandoffStatus.FAILED: (),
    HandoffStatus.EXPIRED: (),
}
"""Where a handoff may go from where it stands."""

OURSELVES = "self-healing"
"""By whose word one ends of which nobody said anything in time."""

AuditAppend = Callable[[str, dict[str, Any], datetime], object]
"""Puts an entry on the audit log: its kind, its payload, and when."""


def _refused(handoff: Handoff, to: HandoffStatus) -> HandoffRefused:
    if handoff.status in ENDED:
        when = "" if handoff.ended_at is None else f" at {handoff.ended_at:%Y-%m-%d %H:%M:%S}"
        why = f"it ended ({handoff.status.value}){when}; nothing is left to do"
    elif handoff.status is HandoffStatus.CREATED:
        why = "it is not delivered yet; try again in a moment, with the service running"
    else:
        can = ", ".join(status.value for status in ALLOWED[handoff.status])
        why = f"it is {handoff.status.value}; from there it can become {can}"
    return HandoffRefused(handoff.id, to.value, why)


def advance(handoff: Handoff, to: HandoffStatus, at: datetime, *, result: str | None = None) -> Handoff:
    """`handoff` one step further in its life. Raises HandoffRefused when that step is not allowed."""
    if to not in ALLOWED[handoff.status]:
        raise _refused(handoff, to)
    moments: dict[str, Any] = {}
    if to is HandoffStatus.DELIVERED:
        moments["delivered_at"] = at
    elif to is HandoffStatus.ACCEPTED:
        moments["accepted_at"] = at
    else:
        moments["ended_at"] = at
    return msgspec.structs.replace(handoff, status=to, result=result or handoff.result, **moments)


class Inbox:
    """Handoffs as their recipients and people move them.

    Args:
        store: the state.
        audit_append: puts what a recipient said on the audit log, within the same transaction.
    """

    def __init__(self, store: Store, audit_append: AuditAppend) -> None:
        self._store = store
        self._audit_append = audit_append

    def arrived(self, id: str, *, at: datetime) -> Handoff:
        """It is where its recipient looks: somebody said so who has it. Raises NotFound, HandoffRefused."""
        delivered = advance(self._store.get(Handoff, id), HandoffStatus.DELIVERED, at)
        self._store.put(delivered)
        return delivered

    def accept(self, id: str, *, by: str, at: datetime) -> Handoff:
        """The recipient works on it. Raises NotFound, HandoffRefused."""
        return self._answered(id, HandoffStatus.ACCEPTED, by, at, None)

    def complete(self, id: str, *, by: str, at: datetime, result: str | None = None) -> Handoff:
        """The recipient says that it is done. Raises NotFound, HandoffRefused."""
        return self._answered(id, HandoffStatus.COMPLETED, by, at, result)

    def fail(self, id: str, *, by: str, at: datetime, result: str | None = None) -> Handoff:
        """The recipient says that it cannot be done. Raises NotFound, HandoffRefused."""
        return self._answered(id, HandoffStatus.FAILED, by, at, result)

    def expire(self, at: datetime) -> list[Handoff]:
        """End the open ones whose deadline has come; returns them."""
        due = [handoff for handoff in self.list(*OPEN) if handoff.deadline <= at]
        expired = [advance(handoff, HandoffStatus.EXPIRED, at) for handoff in due]
        self._store.put(*expired)
        for handoff in expired:
            self._tell(handoff, OURSELVES, at)
        return expired

    def heard(self, id: str, said: Progress | SelfHealingError, *, at: datetime) -> Handoff:
        """What its recipient said when it was asked, or why it said nothing; nothing where it has ended already."""
        handoff = self._store.get(Handoff, id)
        if handoff.status in ENDED:
            return handoff
        if isinstance(said, SelfHealingError):
            return self._troubled(handoff, clean_text(str(said)))
        pause = said.said if said.stage is Stage.PAUSED else None
        now = msgspec.structs.replace(handoff, pause=pause, trouble=None, remote=said.remote or handoff.remote)
        if pause is not None and pause != handoff.pause:
            now = _noted(now, at, Stage.PAUSED.value, pause)
        if now != handoff:
            self._store.put(now)
        by = f"{handoff.target_agent} ({handoff.channel})"
        match said.stage:
            case Stage.COMPLETED:
                return self.complete(id, by=by, at=at, result=said.said)
            case Stage.FAILED:
                return self.fail(id, by=by, at=at, result=said.said)
            case Stage.WORKING | Stage.PAUSED if handoff.status is HandoffStatus.DELIVERED:
                return self.accept(id, by=by, at=at)
        return now

    def _troubled(self, handoff: Handoff, why: str) -> Handoff:
        troubled = msgspec.structs.replace(handoff, trouble=why)
        if troubled != handoff:
            self._store.put(troubled)
        return troubled

    def note(self, id: str, *, at: datetime, text: str) -> Handoff:
        """Add to what the state says of it; what was delivered stays as it is. Raises NotFound."""
        noted = _noted(self._store.get(Handoff, id), at, "note", text)
        self._store.put(noted)
        return noted

    def list(self, *statuses: HandoffStatus) -> list[Handoff]:
        """The handoffs with one of `statuses`, oldest first; all of them when none is given."""
        return self._store.select(Handoff, status=statuses or tuple(HandoffStatus))

    def _answered(self, id: str, to: HandoffStatus, by: str, at: datetime, result: str | None) -> Handoff:
        by = clean_text(by, 200)
        result = None if result is None else clean_text(result)
        with self._store.joined():
            moved = advance(self._store.get(Handoff, id), to, at, result=result)
            moved = _noted(moved, at, to.value, f"by {by}")
            self._store.put(moved)
            self._tell(moved, by, at, result)
        return moved

    def _tell(self, handoff: Handoff, by: str, at: datetime, result: str | None = None) -> None:
        """Put on the audit log what became of a handoff, and by whose word."""
        about = {"handoff": handoff.id, "incident": handoff.incident, "status": handoff.status.value}
        self._audit_append("handoff", {**about, "by": by, "result": result}, at)


def _noted(handoff: Handoff, at: datetime, what: str, text: str) -> Handoff:
    notes = (*handoff.notes, Note(at=at, what=what, text=clean_text(text)))
    return msgspec.structs.replace(handoff, notes=notes[-MOST_NOTES:])
