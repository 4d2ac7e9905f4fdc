"""Probation: an agent that was paused is let back one task at a time, and paused again when a probe fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from self_healing.actions.directing import EXPIRED, Directives
from self_healing.handoffs.inbox import Inbox
from self_healing.incidents.lifecycle import moved, noted
from self_healing.incidents.register import Register
from self_healing.loop.verifying import Verifying
from self_healing.model import (
    Directive,
    Execution,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Result,
    VerificationPhase,
)
from self_healing.spec import ActionSpec
from self_healing.storage.store import Store

MOST_PAUSES = 3
PROBATION = {"max_concurrency": 1}
LET_BACK = "let back half-open"


class Probation:
    """What follows for an incident whose agent is paused.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        verifying: judges the probes.
        directives: what is in force.
        inbox: the handoffs.
        free: whether anything may be set or undone in the fleet now.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        verifying: Verifying,
        directives: Directives,
        inbox: Inbox,
        *,
        free: Callable[[], bool],
    ) -> None:
        self._store = store
        self._register = register
        self._verifying = verifying
        self._directives = directives
        self._inbox = inbox
        self._free = free

    def paused(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """Let the agent back when its pause is over."""
        pause = self._pause(execution)
        if pause is not None and pause.undone_at is not None and pause.undone_reason != EXPIRED:
            # A person let the agent back; it is judged as it is, and not put on probation against that person's will.
            since = min(pause.undone_at, at)
            self._verifying.begin(incident, execution, action, VerificationPhase.EFFECT, since, at)
            return
        why = self._pause_over(pause, incident, execution, action, at)
        if why is not None and self._free():
            self._let_back(incident, execution, action, at, why)

    def _pause_over(
        self, pause: Directive | None, incident: Incident, execution: Execution, action: ActionSpec, at: datetime
    ) -> str | None:
        """Why the pause is over; None while it is not."""
        if pause is None or pause.undone_at is not None or pause.expires_at <= at:
            return "the pause ran out"
        handoff = None if execution.handoff is None else self._store.get(Handoff, execution.handoff)
        completed_at = handoff.ended_at if handoff is not None and handoff.status is HandoffStatus.COMPLETED else None
        # One that was completed before the agent was paused again says nothing about this pause.
        if completed_at is not None and completed_at >= pause.created_at:
            return f"handoff {execution.handoff} is completed"
        hold_off = timedelta(seconds=action.hold_off * 2**incident.pauses)
        return "the hold-off ended" if at >= pause.created_at + hold_off else None

    def _pause(self, execution: Execution) -> Directive | None:
        return next((d for d in self._directives.of(execution) if d.name == "paused"), None)

    def _let_back(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime, why: str) -> None:
        """Let a paused agent work again, one task at a time, to see."""
        pause = self._pause(execution)
        if pause is not None:
            self._directives.undo([pause.id], at=at, reason=LET_BACK)
        probation = self._probation(execution)
        expires_at = at + timedelta(seconds=action.expires)
        if probation:
            self._directives.restore([each.id for each in probation], at=at, expires_at=expires_at)
        else:
            self._directives.set(execution, PROBATION, at=at, expires_at=expires_at, reason=f"probation: {why}")
        incident = noted(incident, at, "probation", f"{execution.target} is let back, one task at a time: {why}")
        self._verifying.begin(incident, execution, action, VerificationPhase.PROBATION, at, at)

    def _probation(self, execution: Execution) -> list[Directive]:
        return [each for each in self._directives.of(execution) if each.name in PROBATION]

    def pause_again(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """A probe failed: pause for twice as long, three times at most; then a person has it, on one task at a time."""
        if incident.pauses >= MOST_PAUSES:
            self._verifying.learn(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(incident, at, f"its probes failed after {MOST_PAUSES} longer pauses")
            return
        pause = self._pause(execution)
        if pause is not None:
            probation = [each.id for each in self._probation(execution)]
            self._directives.undo(probation, at=at, reason="a probe failed")
            self._directives.restore([pause.id], at=at, expires_at=at + timedelta(seconds=action.expires))
        if execution.handoff is not None:
            text = "a probe failed: the agent is paused again and needs another look"
            self._inbox.note(execution.handoff, at=at, text=text)
        again = moved(incident, IncidentState.ACTING, at, pauses=incident.pauses + 1)
        self._register.note(again, at, "paused", "a probe failed; paused again, twice as long")
