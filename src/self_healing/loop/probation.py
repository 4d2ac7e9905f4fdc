"""Probation: an agent that was paused is let back one task at a time, and paused again when a probe fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

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
from self_healing.spec import ActionSpec, ActionType, Spec
from self_healing.storage.store import Store
from self_healing.verification import Judgement

MOST_PAUSES = 3
LET_BACK = "let back half-open"


class Pausing(NamedTuple):
    """What paused the agent of an incident: its present step, or an earlier one whose pause goes on."""

    by: Execution
    action: ActionSpec
    pause: Directive | None


class Probation:
    """What follows for an incident whose agent is paused.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        verifying: judges the probes.
        directives: what is in force.
        inbox: the handoffs.
        renewing: asks the gate again before anything is set or restored.
        spec_of: the spec that an incident goes on by.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        verifying: Verifying,
        directives: Directives,
        inbox: Inbox,
        renewing: Renewing,
        spec_of: Callable[[Incident], Spec],
    ) -> None:
        self._store = store
        self._register = register
        self._verifying = verifying
        self._directives = directives
        self._inbox = inbox
        self._renewing = renewing
        self._spec_of = spec_of

    def holds(self, incident: Incident, action: ActionSpec) -> bool:
        """Whether the agent is to be let back half-open before `action`, the incident's present step, is judged."""
        if incident.is_parent:
            return False
        return action.type is ActionType.EMERGENCY_SHUTDOWN or bool(incident.step and self._pauses(incident))

    def holding(self, incident: Incident) -> Pausing | None:
        """The earlier step by which the agent of an incident that waits is paused still; None where none is."""
        if incident.is_parent or not incident.step or not self._pauses(incident):
            return None
        return self._newest(incident)

    def held_off(self, pausing: Pausing, incident: Incident, at: datetime) -> bool:
        """Whether the hold-off of that step is over."""
        hold_off = timedelta(seconds=pausing.action.hold_off * 2**incident.pauses)
        return pausing.pause is None or at >= pausing.pause.created_at + hold_off

    def paused(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """Let the agent back when its pause is over."""
        pausing = self._pausing(incident, execution, action)
        pause = pausing.pause
        if pausing.by is not execution and self._did_nothing(execution):
            # It heals nobody, so that what paused the agent is judged, and gets the credit.
            incident = msgspec.structs.replace(incident, execution=pausing.by.id)
            execution, action = pausing.by, pausing.action
        if pause is not None and pause.undone_at is not None and pause.undone_reason != EXPIRED:
            # A person let the agent back; it is judged as it is, and not put on probation against that person's will.
            since = min(pause.undone_at, at)
            self._verifying.begin(incident, execution, action, VerificationPhase.EFFECT, since, at)
            return
        why = self._pause_over(pausing, incident, execution, at)
        if why is not None:
            self._let_back(incident, execution, action, pausing, at, why)

    def _pauses(self, incident: Incident) -> list[Directive]:
        """What is in force of what paused its agent."""
        owned = self._store.select(Directive, owner=incident.id, open="yes")
        return [directive for directive in owned if directive.name == "paused"]

    def _pausing(self, incident: Incident, execution: Execution, action: ActionSpec) -> Pausing:
        """Its present step, where that pauses; else the newest step before it that did."""
        if action.type is ActionType.EMERGENCY_SHUTDOWN:
            return Pausing(execution, action, self._pause(execution))
        return self._newest(incident) or Pausing(execution, action, None)

    def _newest(self, incident: Incident) -> Pausing | None:
        """Its newest step that paused the agent; one that was denied did not."""
        actions = {each.name: each for each in self._spec_of(incident).actions}
        for by in reversed(self._store.select(Execution, incident=incident.id)):
            declared = actions.get(by.action)
            if declared is not None and declared.type is ActionType.EMERGENCY_SHUTDOWN:
                pause = self._pause(by)
                if pause is not None:
                    return Pausing(by, declared, pause)
        return None

    def _pause(self, execution: Execution) -> Directive | None:
        return next((each for each in self._directives.of(execution) if each.name == "paused"), None)

    def _did_nothing(self, execution: Execution) -> bool:
        """Whether its handoff could not be done, and it set nothing."""
        handoff = None if execution.handoff is None else self._store.get(Handoff, execution.handoff)
        failed = handoff is not None and handoff.status is HandoffStatus.FAILED
        return failed and not self._directives.of(execution)

    def _pause_over(self, pausing: Pausing, incident: Incident, execution: Execution, at: datetime) -> str | None:
        """Why the pause is over; None while it is not."""
        pause = pausing.pause
        if pause is None or pause.undone_at is not None or pause.expires_at <= at:
            return "the pause ran out"
        handoff = None if execution.handoff is None else self._store.get(Handoff, execution.handoff)
        completed_at = handoff.ended_at if handoff is not None and handoff.status is HandoffStatus.COMPLETED else None
        # One that was completed before the agent was paused again says nothing about this pause.
        if completed_at is not None and completed_at >= pause.created_at:
            return f"handoff {execution.handoff} is completed"
        return "the hold-off ended" if self.held_off(pausing, incident, at) else None

    def _let_back(
        self, incident: Incident, execution: Execution, action: ActionSpec, pausing: Pausing, at: datetime, why: str
    ) -> None:
        """Let a paused agent work again, one task at a time, to see."""
        by, shutdown = pausing.by, pausing.action
        decision = self._renewing.ask(incident, by, shutdown, dict(shutdown.probation), at)
        if decision is None:
            return
        if decision.outcome is not Outcome.ALLOW:
            self._register.escalate(incident, at, f"its probation is {refused(decision)}")
            return
        self._directives.undo([pause.id for pause in self._pauses(incident)], at=at, reason=LET_BACK)
        until = at + timedelta(seconds=shutdown.expires)
        reason = f"probation: {why}"
        if probation := self._probation(by, shutdown):
            ids = [each.id for each in probation]
            self._directives.restore(by, ids, at=at, expires_at=until, renewal=decision.id)
        else:
            settings = decision.proposal.settings
            self._directives.set(by, settings, at=at, expires_at=until, reason=reason, renewal=decision.id)
        incident = noted(incident, at, "probation", f"{execution.target} is let back, one task at a time: {why}")
        self._verifying.begin(incident, execution, action, VerificationPhase.PROBATION, at, at)

    def _probation(self, execution: Execution, action: ActionSpec) -> list[Directive]:
        return [each for each in self._directives.of(execution) if each.name in action.probation]

    def probe_failed(
        self, incident: Incident, execution: Execution, action: ActionSpec, verification: Verification, at: datetime
    ) -> None:
        """Pause for twice as long, three times at most; then a person has it, on one task at a time."""
        why = f"its probes failed after {MOST_PAUSES} longer pauses"
        pausing = self._pausing(incident, execution, action)
        decision = None
        if incident.pauses < MOST_PAUSES:
            decision = self._renewing.ask(incident, pausing.by, pausing.action, {"paused": True}, at)
            if decision is None:
                return
            why = f"a probe failed, and pausing again is {refused(decision)}"
        samples = self._verifying.judgement(verification, at).samples
        self._verifying.judged(verification, Judgement(Result.NOT_HEALED, None, samples), at)
        if decision is not None and decision.outcome is Outcome.ALLOW:
            self._pause_again(incident, execution, pausing, decision, at)
        else:
            self._verifying.learn(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(incident, at, why)

    def _pause_again(
        self, incident: Incident, execution: Execution, pausing: Pausing, decision: Decision, at: datetime
    ) -> None:
        by, shutdown, pause = pausing
        if pause is not None:
            probation = [each.id for each in self._probation(by, shutdown)]
            self._directives.undo(probation, at=at, reason="a probe failed")
            until = at + timedelta(seconds=shutdown.expires)
            self._directives.restore(by, [pause.id], at=at, expires_at=until, renewal=decision.id)
        if execution.handoff is not None:
            text = "a probe failed: the agent is paused again and needs another look"
            self._inbox.note(execution.handoff, at=at, text=text)
        again = moved(incident, IncidentState.ACTING, at, pauses=incident.pauses + 1)
        self._register.note(again, at, "paused", "a probe failed; paused again, twice as long")
