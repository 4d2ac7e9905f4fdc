"""Treatment: what follows for an incident from its execution, its handoff and its verification.

::

    acting --effect there--> verifying --good--> closed (healed), or mitigated while a directive holds
      ^                        |  not healed, worse: the next step of the plan
      |  failed probe          v
      +---- paused        mitigated --undone, good again--> closed (healed)
                               \\--relapse: directive restored--> verifying
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from self_healing.actions.directing import Directives
from self_healing.clock import to_us
from self_healing.handoffs.inbox import Inbox
from self_healing.incidents.lifecycle import moved, noted
from self_healing.incidents.register import Register
from self_healing.learning import learnt, lesson_id
from self_healing.model import (
    CloseReason,
    Directive,
    Execution,
    ExecutionStatus,
    Group,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Lesson,
    Result,
    Verification,
    VerificationPhase,
    new_id,
)
from self_healing.spec import ActionSpec, ActionType, Spec
from self_healing.storage.store import Store
from self_healing.taps import Accumulator
from self_healing.verification import EXTENSIONS, Judgement, credit, failed_probe, judge

MOST_PAUSES = 3
MOST_RELAPSES = 3
PROBATION = {"max_concurrency": 1}
TO_SEE = "undone to see whether it stays well"
LET_BACK = "let back half-open"


class Treatment:
    """Carries incidents from their effect to their close.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        directives: what is in force.
        inbox: the handoffs.
        spec: the loaded spec.
        watch: begins to gather the tasks of a series for a verification, from an instant on.
        accumulators: what is gathered, by verification.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        directives: Directives,
        inbox: Inbox,
        spec: Spec,
        *,
        watch: Callable[[str, str, Group, int], None],
        accumulators: Callable[[], dict[str, Accumulator]],
    ) -> None:
        self._store = store
        self._register = register
        self._directives = directives
        self._inbox = inbox
        self._spec = spec
        self._watch = watch
        self._accumulators = accumulators

    def follow(self, incident: Incident, at: datetime) -> None:
        """Carry `incident` as far as what is known at `at` allows."""
        match incident.state:
            case IncidentState.ACTING:
                self._acting(incident, at)
            case IncidentState.VERIFYING:
                self._verifying(incident, at)
            case IncidentState.MITIGATED:
                self._mitigated(incident, at)

    # -- acting

    def _acting(self, incident: Incident, at: datetime) -> None:
        execution = self._store.get(Execution, incident.execution or "")
        match execution.status:
            case ExecutionStatus.FAILED:
                self.next_step(incident, at, "failed", f"{execution.action} failed: {execution.error}")
            case ExecutionStatus.UNKNOWN:
                self._register.escalate(incident, at, f"{execution.action}: {execution.error}")
            case ExecutionStatus.DISPATCHED | ExecutionStatus.SUCCEEDED:
                self._effect_there(incident, execution, at)

    def _effect_there(self, incident: Incident, execution: Execution, at: datetime) -> None:
        action = self._spec.action(execution.action)
        if action.type is ActionType.EMERGENCY_SHUTDOWN:
            self._paused(incident, execution, action, at)
        elif execution.effect_at is not None:
            self._verify(incident, execution, VerificationPhase.EFFECT, execution.effect_at, at)
        else:
            self._await_handoff(incident, execution, at)

    def _await_handoff(self, incident: Incident, execution: Execution, at: datetime) -> None:
        handoff = self._handoff(execution)
        if handoff is None or handoff.ended_at is None:
            return
        if handoff.status is HandoffStatus.FAILED:
            self.next_step(incident, at, "failed", f"{handoff.target_agent} could not do it: {handoff.result or 'no reason'}")
            return
        done = handoff.status is HandoffStatus.COMPLETED
        effect_at = at if done else handoff.deadline
        status = ExecutionStatus.SUCCEEDED if done else execution.status
        execution = msgspec.structs.replace(execution, effect_at=effect_at, status=status, updated_at=at)
        self._store.put(execution)
        self._verify(incident, execution, VerificationPhase.EFFECT, effect_at, at)

    def _handoff(self, execution: Execution) -> Handoff | None:
        return None if execution.handoff is None else self._store.get(Handoff, execution.handoff)

    # -- pause and probation

    def _paused(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        pause = self._pause(execution)
        if pause is None or pause.undone_at is not None:
            self._let_back(incident, execution, at, "the pause ended")
            return
        handoff = self._handoff(execution)
        until = pause.created_at + timedelta(seconds=action.hold_off * 2**incident.pauses)
        if handoff is not None and handoff.ended_at is not None and handoff.ended_at >= pause.created_at:
            self._let_back(incident, execution, at, f"handoff {handoff.id} is {handoff.status}")
        elif at >= until:
            self._let_back(incident, execution, at, "the hold-off ended")

    def _pause(self, execution: Execution) -> Directive | None:
        return next((d for d in self._directives.of(execution) if d.name == "paused"), None)

    def _let_back(self, incident: Incident, execution: Execution, at: datetime, why: str) -> None:
        """Let a paused agent work again, one task at a time, to see."""
        pause = self._pause(execution)
        if pause is not None:
            self._directives.undo([pause.id], at=at, reason=LET_BACK)
        probation = [d for d in self._directives.of(execution) if d.name in PROBATION]
        expires_at = self._expires_at(execution, at)
        if probation:
            self._directives.restore([d.id for d in probation], at=at, expires_at=expires_at)
        else:
            self._directives.set(execution, PROBATION, at=at, expires_at=expires_at, reason=f"probation: {why}")
        incident = noted(incident, at, "probation", f"{execution.target} is let back, one task at a time: {why}")
        self._verify(incident, execution, VerificationPhase.PROBATION, at, at)

    def _pause_again(self, incident: Incident, execution: Execution, at: datetime) -> None:
        pause = self._pause(execution)
        if pause is not None:
            probation = [d.id for d in self._directives.of(execution) if d.name in PROBATION]
            self._directives.undo(probation, at=at, reason="a probe failed")
            self._directives.restore([pause.id], at=at, expires_at=self._expires_at(execution, at))
        if incident.pauses >= MOST_PAUSES:
            self._outcome(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(incident, at, f"its probes failed after {MOST_PAUSES} longer pauses")
            return
        if execution.handoff is not None:
            text = "a probe failed: the agent is paused again and needs another look"
            self._inbox.note(execution.handoff, at=at, text=text)
        again = moved(incident, IncidentState.ACTING, at, pauses=incident.pauses + 1)
        self._register.note(again, at, "paused", "a probe failed; paused again, twice as long")

    def _expires_at(self, execution: Execution, at: datetime) -> datetime:
        return at + timedelta(seconds=self._spec.action(execution.action).expires)

    # -- verification

    def _verify(
        self, incident: Incident, execution: Execution, phase: VerificationPhase, effect_at: datetime, at: datetime
    ) -> None:
        """Begin to judge; a mitigated incident stays mitigated while it is."""
        action, trigger = self._spec.action(execution.action), self._spec.trigger(incident.trigger)
        verification = Verification(
            id=new_id("ver"),
            incident=incident.id,
            execution=execution.id,
            trigger=incident.trigger,
            group=incident.group,
            action=execution.action,
            phase=phase,
            effect_at=effect_at,
            deadline=max(effect_at, at) + timedelta(seconds=action.verification.deadline),
            needed=max(trigger.min_samples, action.verification.min_samples),
            peak=incident.peak,
            threshold=incident.threshold,
        )
        self._store.put(verification)
        self._watch(verification.id, incident.trigger, incident.group, to_us(effect_at))
        text = f"{verification.needed} samples from tasks begun after {effect_at:%H:%M:%S} decide, until {verification.deadline:%H:%M:%S}"
        if phase is VerificationPhase.UNDONE:
            incident = msgspec.structs.replace(incident, verification=verification.id)
        else:
            incident = moved(incident, IncidentState.VERIFYING, at, verification=verification.id)
        self._register.note(incident, at, "verifying", text)

    def _verifying(self, incident: Incident, at: datetime) -> None:
        verification = self._store.get(Verification, incident.verification or "")
        trigger = self._spec.trigger(incident.trigger)
        accumulator = self._gathered(verification)
        execution = self._store.get(Execution, verification.execution)
        if verification.phase is VerificationPhase.PROBATION and failed_probe(trigger, verification, accumulator):
            self._judged(verification, Judgement(Result.NOT_HEALED, None, len(accumulator.tasks)), at)
            self._pause_again(incident, execution, at)
            return
        judgement = judge(verification, trigger, accumulator, at)
        if judgement.result is None:
            return
        if judgement.result is Result.INCONCLUSIVE and verification.extended < EXTENSIONS:
            self._extend(incident, verification, at)
            return
        self._judged(verification, judgement, at)
        self._conclude(incident, execution, verification, judgement, accumulator, at)

    def _gathered(self, verification: Verification) -> Accumulator:
        gathered = self._accumulators().get(verification.id)
        # None: the spec changed what the trigger measures; what was gathered before says nothing any more.
        return Accumulator("", 0, to_us(verification.effect_at)) if gathered is None else gathered

    def _extend(self, incident: Incident, verification: Verification, at: datetime) -> None:
        length = timedelta(seconds=self._spec.action(verification.action).verification.deadline)
        extended = msgspec.structs.replace(
            verification, extended=verification.extended + 1, deadline=verification.deadline + length
        )
        self._store.put(extended)
        text = f"too little to judge by; extended to {extended.deadline:%H:%M:%S}"
        self._register.note(incident, at, "extended", text)

    def _judged(self, verification: Verification, judgement: Judgement, at: datetime, due: float | None = None) -> None:
        self._store.put(
            msgspec.structs.replace(
                verification,
                result=judgement.result,
                value=judgement.value,
                samples=judgement.samples,
                judged_at=at,
                credit=due,
            )
        )
        self._accumulators().pop(verification.id, None)

    def _conclude(
        self,
        incident: Incident,
        execution: Execution,
        verification: Verification,
        judgement: Judgement,
        accumulator: Accumulator,
        at: datetime,
    ) -> None:
        said = _said(judgement)
        match judgement.result:
            case Result.HEALED:
                if self._in_force(incident, at):
                    text = f"{said}; the directive stays for {incident.hold_s / 60:.0f} min, then it is undone to see"
                    better = moved(incident, IncidentState.MITIGATED, at, mitigated_at=at)
                    self._register.note(better, at, "mitigated", text)
                else:
                    self._healed(incident, execution, verification, said, accumulator, at)
            case Result.WORSE:
                self._directives.undo_owned(incident.id, at=at, reason="it got worse")
                self._outcome(incident, execution, Result.WORSE, at)
                self.next_step(incident, at, "worse", f"{said}; undone")
            case Result.NOT_HEALED:
                self._outcome(incident, execution, Result.NOT_HEALED, at)
                self.next_step(incident, at, "not_healed", said)
            case _:
                self._outcome(incident, execution, Result.INCONCLUSIVE, at)
                self._register.escalate(incident, at, f"inconclusive: {said} within the time for it")

    def _in_force(self, incident: Incident, at: datetime) -> list[Directive]:
        owned = self._store.select(Directive, owner=incident.id, open="yes")
        return [directive for directive in owned if directive.expires_at > at]

    def next_step(self, incident: Incident, at: datetime, what: str, text: str) -> None:
        """Go on to the next action of the plan; where there is none, the register escalates when it is looked at."""
        further = moved(incident, IncidentState.OPEN, at, step=incident.step + 1, verification=None)
        self._register.note(further, at, what, text)

    def skip(self, incident: Incident, at: datetime, text: str) -> None:
        """Pass over a step that the gate denied."""
        further = msgspec.structs.replace(incident, step=incident.step + 1, updated_at=at)
        self._register.note(further, at, "denied", text)

    # -- mitigated

    def _mitigated(self, incident: Incident, at: datetime) -> None:
        execution = self._store.get(Execution, incident.execution or "")
        verification = self._store.get(Verification, incident.verification or "")
        if verification.phase is VerificationPhase.UNDONE and verification.result is None:
            self._staying_well(incident, execution, verification, at)
            return
        held = incident.mitigated_at is not None and at >= incident.mitigated_at + timedelta(seconds=incident.hold_s)
        if held or not self._in_force(incident, at):
            self._directives.undo_owned(incident.id, at=at, reason=TO_SEE)
            incident = noted(incident, at, "undone", "the directive is undone, to see whether it stays well")
            self._verify(incident, execution, VerificationPhase.UNDONE, at, at)

    def _staying_well(self, incident: Incident, execution: Execution, verification: Verification, at: datetime) -> None:
        accumulator = self._gathered(verification)
        judgement = judge(verification, self._spec.trigger(incident.trigger), accumulator, at)
        if judgement.result is None:
            return
        if judgement.result is Result.INCONCLUSIVE and verification.extended < EXTENSIONS:
            self._extend(incident, verification, at)
        elif judgement.result is Result.INCONCLUSIVE:
            self._judged(verification, judgement, at)
            self._outcome(incident, execution, Result.INCONCLUSIVE, at)
            self._register.escalate(incident, at, f"inconclusive: {_said(judgement)} since the directive was undone")
        elif judgement.result is Result.HEALED:
            self._judged(verification, judgement, at)
            self._healed(incident, execution, verification, _said(judgement), accumulator, at)
        else:
            self._judged(verification, judgement, at)
            self._relapse(incident, execution, judgement, at)

    def _relapse(self, incident: Incident, execution: Execution, judgement: Judgement, at: datetime) -> None:
        """It came back without the directive: put it in force again, for longer before the next look."""
        undone = [d for d in self._store.select(Directive, owner=incident.id) if d.undone_reason == TO_SEE]
        self._directives.restore([d.id for d in undone], at=at, expires_at=self._expires_at(execution, at))
        again = msgspec.structs.replace(
            incident,
            relapses=incident.relapses + 1,
            attempts=incident.attempts + 1,
            hold_s=incident.hold_s * 2,
        )
        again = noted(again, at, "relapse", f"{_said(judgement)}; the directive is restored")
        if again.relapses >= MOST_RELAPSES:
            self._outcome(incident, execution, Result.NOT_HEALED, at)
            self._register.escalate(again, at, "it came back each time the directive was undone")
        else:
            self._verify(again, execution, VerificationPhase.EFFECT, at, at)

    # -- the end

    def _healed(
        self,
        incident: Incident,
        execution: Execution,
        verification: Verification,
        said: str,
        accumulator: Accumulator,
        at: datetime,
    ) -> None:
        due = self._credit(incident, execution)
        judged = self._store.get(Verification, verification.id)
        self._store.put(msgspec.structs.replace(judged, credit=due))
        succeeded = msgspec.structs.replace(execution, status=ExecutionStatus.SUCCEEDED, updated_at=at)
        self._store.put(succeeded)
        self._outcome(incident, execution, Result.HEALED, at, due)
        reason = CloseReason.HEALED if due > 0 else CloseReason.RECOVERED
        text = said if due > 0 else f"{said}; untreated series of {incident.trigger} recovered as well, so no credit is due"
        self._register.close(incident, at, reason, text, accumulator=accumulator)

    def _credit(self, incident: Incident, execution: Execution) -> float:
        since = execution.created_at
        others = [
            other
            for other in self._store.select(Incident, trigger=incident.trigger)
            if other.id != incident.id
            and not other.attempts
            and other.opened_at <= since
            and (other.closed_at is None or other.closed_at >= since)
        ]
        recovered = [other for other in others if other.close_reason is CloseReason.RECOVERED]
        return credit(1, len(recovered), len(others))

    def _outcome(
        self, incident: Incident, execution: Execution, result: Result, at: datetime, due: float = 0.0
    ) -> None:
        lesson = self._store.get(Lesson, lesson_id(execution.trigger, execution.action, execution.target))
        heal_s = (at - incident.opened_at).total_seconds() if result is Result.HEALED else None
        self._store.put(learnt(lesson, result, at, heal_s=heal_s, credit=due))


def _said(judgement: Judgement) -> str:
    value = "no value" if judgement.value is None else f"{judgement.value:.6g}"
    return f"{value} on {judgement.samples} samples"
