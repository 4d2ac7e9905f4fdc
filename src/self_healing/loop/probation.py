"""Probation: an agent that was paused is let back one task at a time, and paused again when a probe fails."""

from __future__ import annotations

from datetime import datetime, timedelta

from self_healing.actions.directing import EXPIRED, Directives
from self_healing.handoffs.inbox import Inbox
from self_healing.incidents.lifecycle import moved, noted
from self_healing.incidents.register import Register
from self_healing.loop.renewing import Renewing, refused
from self_healing.loop.verifying import Verifying
from self_healing.model import (
    Decision,
    Directive,
    Execution,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Outcome,
    Result,
    Verification,
    VerificationPhase,
)
from self_healing.spec import ActionSpec
from self_healing.storage.store import Store
from self_healing.verification import Judgement

MOST_PAUSES = 3
LET_BACK = "let back half-open"


class Probation:
    """What follows for an incident whose agent is paused.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        verifying: judges the probes.
        directives: what is in force.
        inbox: the handoffs.
        renewing: asks the gate again before anything is set or restored.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        verifying: Verifying,
        directives: Directives,
        inbox: Inbox,
        renewing: Renewing,
    ) -> None:
        self._store = store
        self._register = register
        self._verifying = verifying
        self._directives = directives
        self._inbox = inbox
        self._renewing = renewing

    def paused(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """Let the agent back when its pause is over."""
        pause = self._pause(execution)
        if pause is not None and pause.undone_at is not None and pause.undone_reason != EXPIRED:
            # A person let the agent back; it is judged as it is, and not put on probation against that person's will.
            since = min(pause.undone_at, at)
            self._verifying.begin(incident, execution, action, VerificationPhase.EFFECT, since, at)
            return
        why = self._pause_over(pause, incident, execution, action, at)
        if why is not None:
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
        decision = self._renewing.ask(incident, execution, action, dict(action.probation), at)
        if decision is None:
            return
        if decision.outcome is not Outcome.ALLOW:
            self._register.escalate(incident, at, f"its probation is {refused(decision)}")
            return
        pause = self._pause(execution)
        if pause is not None:
            self._directives.undo([pause.id], at=at, reason=LET_BACK)
        until = at + timedelta(seconds=action.expires)
        reason = f"probation: {why}"
        if probation := self._probation(execution, action):
            ids = [each.id for each in probation]
            self._directives.restore(execution, ids, at=at, expires_at=until, renewal=decision.id)
        else:
            settings = decision.proposal.settings
            self._directives.set(execution, settings, at=at, expires_at=until, reason=reason, renewal=decision.id)
        incident = noted(incident, at, "probation", f"{execution.target} is let back, one task at a time: {why}")
        self._verifying.begin(incident, execution, action, VerificationPhase.PROBATION, at, at)

    def _probation(self, execution: Execution, action: ActionSpec) -> list[Directive]:
        return [each for each in self._directives.of(execution) if each.name in action.probation]

    def probe_failed(
        self, incident: Incident, execution: Execution, action: ActionSpec, verification: Verification, at: datetime
    ) -> None:
        """Pause for twice as long, three times at most; then a person has it, on one task at a time."""
        why = f"its probes failed after {MOST_PAUSES} longer pauses"
        decision = None
        if incident.pauses < MOST_PAUSES:
            decision = self._renewing.ask(incident, execution, action, {"paused": True}, at)
            if decision is None:
                return
            why = f"a probe failed, and pausing again is {refused(decision)}"
        samples = self._verifying.judgement(verification, at).samples
        self._verifying.judged(verification, Judgement(Result.NOT_HEALED, None, samples), at)
        if decision is not None and decision.outcome is Outcome.ALLOW:
            self._pause_again(incident, execution, action, decision, at)
        else:
            self._verifying.learn(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(incident, at, why)

    def _pause_again(
        self, incident: Incident, execution: Execution, action: ActionSpec, decision: Decision, at: datetime
    ) -> None:
        pause = self._pause(execution)
        if pause is not None:
            probation = [each.id for each in self._probation(execution, action)]
            self._directives.undo(probation, at=at, reason="a probe failed")
            until = at + timedelta(seconds=action.expires)
            self._directives.restore(execution, [pause.id], at=at, expires_at=until, renewal=decision.id)
        if execution.handoff is not None:
            text = "a probe failed: the agent is paused again and needs another look"
            self._inbox.note(execution.handoff, at=at, text=text)
        again = moved(incident, IncidentState.ACTING, at, pauses=incident.pauses + 1)
        self._register.note(again, at, "paused", "a probe failed; paused again, twice as long")
