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

from self_healing.actions.directing import AuditAppend, Directives
from self_healing.actions.effect import OBSERVED, STALE, STOPPED
from self_healing.actions.planning import DIAGNOSTIC_STEP
from self_healing.incidents.lifecycle import given_back, moved, noted
from self_healing.incidents.register import Register
from self_healing.loop.probation import Probation
from self_healing.loop.relapsing import TO_SEE, Relapsing
from self_healing.loop.renewing import Renewing
from self_healing.loop.stepping import Stepping
from self_healing.loop.verifying import Verifying
from self_healing.model import (
    CloseReason,
    Directive,
    Execution,
    ExecutionStatus,
    Handoff,
    HandoffStatus,
    Incident,
    IncidentState,
    Result,
    Verification,
    VerificationPhase,
    affected_agent,
)
from self_healing.spec import ActionSpec, Spec
from self_healing.storage.store import Store
from self_healing.taps import Accumulator
from self_healing.telemetry.signals import unit
from self_healing.verification import Judgement
from self_healing.wording import amount

FOLLOWED = frozenset((IncidentState.ACTING, IncidentState.VERIFYING, IncidentState.MITIGATED))
"""The states in which an incident has something under way."""

MOST_STEPS = 3  # at one instant: acting, verifying, mitigated


class Treatment:
    """Carries incidents from their effect to their close.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        verifying: judges what was done.
        probation: lets paused agents back.
        renewing: asks the gate again before anything is restored.
        directives: what is in force.
        stepping: says of which incidents a step is.
        spec_of: the spec that an incident goes on by.
        audit: puts one entry on the audit log.
        free: whether anything may be set or undone in the fleet now; not while a person has stopped healing, nor in
            observe mode. What would be done then waits.
        observe: whether nothing is judged, learnt or gone on with.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        verifying: Verifying,
        probation: Probation,
        renewing: Renewing,
        directives: Directives,
        stepping: Stepping,
        spec_of: Callable[[Incident], Spec],
        *,
        audit: AuditAppend,
        free: Callable[[], bool],
        observe: bool,
    ) -> None:
        self._store = store
        self._register = register
        self._verification = verifying
        self._probation = probation
        self._relapsing = Relapsing(store, verifying, register, renewing, directives, spec_of)
        self._directives = directives
        self._stepping = stepping
        self._spec_of = spec_of
        self._audit = audit
        self._free = free
        self._observe = observe

    def follow(self, incident: Incident, at: datetime) -> None:
        """Carry `incident` as far as what is known at `at` allows: what is there already may be judged at once."""
        for _ in range(MOST_STEPS):
            if incident.state not in FOLLOWED:
                return
            self._follow(incident, at)
            after = self._register.open.get(incident.id)
            if after is None or after.state is incident.state:
                return
            incident = after

    def _follow(self, incident: Incident, at: datetime) -> None:
        execution = self._store.get(Execution, incident.execution or "")
        action = next((each for each in self._spec_of(incident).actions if each.name == execution.action), None)
        if self._observe:
            self._observed(incident, execution, at)
        elif incident.state is IncidentState.ACTING:
            self._acting(incident, execution, action, at)
        elif action is None:
            self._undeclared(incident, execution, at)
        elif incident.is_parent:
            self._beneath(incident, execution, action, at)
        elif incident.state is IncidentState.VERIFYING:
            self._verifying(incident, execution, action, at)
        else:
            self._mitigated(incident, execution, action, at)

    def _observed(self, incident: Incident, execution: Execution, at: datetime) -> None:
        """The mode was changed to observe: what was under way is neither judged nor gone on with, and merely noted."""
        if execution.status is ExecutionStatus.INTENDED:
            return  # it ends before it begins
        self._verification.drop(incident, at)
        if _never_began(execution):
            incident = given_back(incident)
        left = moved(incident, IncidentState.OPEN, at, execution=None, verification=None)
        why = f"{OBSERVED}: {execution.action} is not judged, and nothing is gone on with"
        self._register.note(left, at, "left", why)

    def _undeclared(self, incident: Incident, execution: Execution, at: datetime) -> None:
        why = f"action {execution.action} is no longer declared; what it set stays until it expires or is undone"
        self._register.escalate(incident, at, why)

    # -- acting

    def _acting(self, incident: Incident, execution: Execution, action: ActionSpec | None, at: datetime) -> None:
        if _never_began(execution):
            incident = given_back(incident)
        match execution.status:
            case ExecutionStatus.FAILED if execution.error == STOPPED:
                # Nothing was tried: the same step is due again once the person who said stop lets it go on.
                again = moved(incident, IncidentState.OPEN, at, execution=None)
                self._register.note(again, at, "stopped", f"{execution.action} was {STOPPED} before it began")
            case ExecutionStatus.FAILED if execution.error == STALE:
                self._register.note(moved(incident, IncidentState.OPEN, at), at, "anew", STALE)
            case ExecutionStatus.FAILED:
                self.next_step(incident, at, "failed", f"{execution.action} failed: {execution.error}")
            case ExecutionStatus.UNKNOWN:
                self._register.escalate(incident, at, f"{execution.action}: {execution.error}")
            case ExecutionStatus.DISPATCHED | ExecutionStatus.SUCCEEDED:
                if action is None:
                    self._undeclared(incident, execution, at)
                else:
                    self._effect_there(incident, execution, action, at)

    def _effect_there(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        if self._probation.holds(incident, action):
            self._paused(incident, execution, action, at)
        elif execution.effect_at is not None:
            self._verification.begin(incident, execution, action, VerificationPhase.EFFECT, execution.effect_at, at)
        else:
            self._await_handoff(incident, execution, action, at)

    def _paused(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """The pause goes on, but a handoff that failed does not keep the next step waiting, where one is left."""
        handoff = self._handoff(execution)
        if handoff is not None and handoff.status is HandoffStatus.FAILED and self._stepping.left(incident):
            self._could_not(incident, handoff, at)
        else:
            self._probation.paused(incident, execution, action, at)

    def _could_not(self, incident: Incident, handoff: Handoff, at: datetime) -> None:
        why = f"{handoff.target_agent} could not do it: {handoff.result or 'no reason'}"
        self.next_step(incident, at, "failed", why)

    def _await_handoff(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        handoff = self._handoff(execution)
        if handoff is None or handoff.ended_at is None:
            return
        if handoff.status is HandoffStatus.FAILED:
            self._could_not(incident, handoff, at)
            return
        done = handoff.status is HandoffStatus.COMPLETED
        # A person's clock may be ahead of the engine's; an effect later than now would never be judged.
        effect_at = min(handoff.ended_at if done else handoff.deadline, at)
        status = ExecutionStatus.SUCCEEDED if done else execution.status
        execution = msgspec.structs.replace(execution, effect_at=effect_at, status=status, updated_at=at)
        self._store.put(execution)
        self._verification.begin(incident, execution, action, VerificationPhase.EFFECT, effect_at, at)

    def _handoff(self, execution: Execution) -> Handoff | None:
        return None if execution.handoff is None else self._store.get(Handoff, execution.handoff)

    def _cancel(self, execution: Execution, at: datetime, why: str) -> None:
        ended = msgspec.structs.replace(execution, status=ExecutionStatus.FAILED, error=why, updated_at=at)
        self._store.put(ended)
        told = {"execution": execution.id, "handoff": execution.handoff, "status": ended.status.value, "error": why}
        self._audit("outcome", told, at)
        handoff = self._handoff(execution)
        if handoff is not None and handoff.status is HandoffStatus.CREATED:
            self._store.put(msgspec.structs.replace(handoff, status=HandoffStatus.FAILED, ended_at=at, result=why))

    # -- verification

    def _verifying(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        verification = self._verification.of(incident)
        probing = verification.phase is VerificationPhase.PROBATION
        if probing and self._verification.failed_probe(verification, at):
            self._probation.probe_failed(incident, execution, action, verification, at)
            return
        accumulator = self._verification.gathered(verification)
        judgement = self._verification.judgement(verification, at)
        if judgement.result is None or self._verification.extended(incident, verification, action, judgement, at):
            return
        if judgement.result is Result.WORSE and not self._free():
            return  # the directive would be undone
        self._verification.judged(verification, judgement, at)
        self._conclude(incident, execution, verification, judgement, accumulator, at)

    def _conclude(
        self,
        incident: Incident,
        execution: Execution,
        verification: Verification,
        judgement: Judgement,
        accumulator: Accumulator | None,
        at: datetime,
    ) -> None:
        said = self._said(verification, judgement)
        match judgement.result:
            case Result.HEALED:
                if self._in_force(incident, at) or self._undone_since(incident, verification.effect_at):
                    text = f"{said}; the directive stays for {incident.hold_s / 60:.0f} min, then it is undone to see"
                    if not self._in_force(incident, at):
                        text = f"{said}, in part under a directive that is over by now"
                    better = moved(incident, IncidentState.MITIGATED, at, mitigated_at=at)
                    self._register.note(better, at, "mitigated", text)
                else:
                    self._healed(incident, execution, verification, said, accumulator, at)
            case Result.WORSE:
                self._directives.undo_owned(incident.id, at=at, reason="it got worse")
                self._verification.learn(incident, execution, Result.WORSE, at)
                self.next_step(incident, at, "worse", f"{said}; undone")
            case Result.NOT_HEALED:
                self._verification.learn(incident, execution, Result.NOT_HEALED, at)
                self.next_step(incident, at, "not_healed", said)
            case _:
                self._verification.learn(incident, execution, Result.INCONCLUSIVE, at)
                self._register.escalate(incident, at, f"inconclusive: {said} within the time for it")

    def _in_force(self, incident: Incident, at: datetime) -> list[Directive]:
        owned = self._store.select(Directive, owner=incident.id, open="yes")
        return [directive for directive in owned if directive.expires_at > at]

    def _undone_since(self, incident: Incident, effect_at: datetime) -> bool:
        """Whether a directive ended while it was judged: some of the work that is good may have been done under it."""
        owned = self._store.select(Directive, owner=incident.id)
        return any(each.undone_at is not None and each.undone_at > effect_at for each in owned)

    def next_step(self, incident: Incident, at: datetime, what: str, text: str) -> None:
        """Go on to the next action of the plan; where there is none, the incident escalates when it is looked at."""
        self._verification.drop(incident, at)
        further = moved(incident, IncidentState.OPEN, at, step=incident.step + 1, verification=None)
        self._register.note(further, at, what, text)

    def _beneath(self, parent: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        """What a parent handed over is judged by what is beneath it: healed with the last of them, or not at all.

        What came beneath it meanwhile is judged from now on.
        """
        self._verification.begin_waiting(parent, execution, action, at, at)
        children = self._register.children(parent)
        if not children:
            if parent.worst_ending is CloseReason.HEALED:
                self._store.put(msgspec.structs.replace(execution, status=ExecutionStatus.SUCCEEDED, updated_at=at))
                self._verification.learn(parent, execution, Result.HEALED, at, 1.0)
        elif all(child.state is IncidentState.ESCALATED for child in children):
            self._register.escalate(parent, at, "all that is beneath it is with a person")
        elif all(child.state in (IncidentState.OPEN, IncidentState.ESCALATED) for child in children):
            self._verification.learn(parent, execution, Result.NOT_HEALED, at)
            left = ", ".join(affected_agent(child.group) for child in children)
            self.next_step(parent, at, "not_healed", f"still ill: {left}")

    # -- mitigated

    def _mitigated(self, incident: Incident, execution: Execution, action: ActionSpec, at: datetime) -> None:
        verification = self._verification.of(incident)
        if verification.phase is VerificationPhase.UNDONE and verification.result is None:
            self._staying_well(incident, execution, action, verification, at)
        elif not self._in_force(incident, at):
            incident = noted(incident, at, "undone", "the directive is over; now to see whether it stays well")
            self._verification.begin(incident, execution, action, VerificationPhase.UNDONE, at, at)
        elif self._free() and at >= (incident.mitigated_at or at) + timedelta(seconds=incident.hold_s):
            self._directives.undo_owned(incident.id, at=at, reason=TO_SEE)
            incident = noted(incident, at, "undone", "the directive is undone, to see whether it stays well")
            self._verification.begin(incident, execution, action, VerificationPhase.UNDONE, at, at)

    def _staying_well(
        self, incident: Incident, execution: Execution, action: ActionSpec, verification: Verification, at: datetime
    ) -> None:
        accumulator = self._verification.gathered(verification)
        judgement = self._verification.judgement(verification, at)
        if judgement.result is None or self._verification.extended(incident, verification, action, judgement, at):
            return
        if judgement.result in (Result.NOT_HEALED, Result.WORSE):
            said = self._said(verification, judgement)
            self._relapsing.relapsed(incident, execution, action, verification, judgement, said, at)
            return
        self._verification.judged(verification, judgement, at)
        if judgement.result is Result.HEALED:
            self._healed(incident, execution, verification, self._said(verification, judgement), accumulator, at)
        else:
            self._verification.learn(incident, execution, Result.INCONCLUSIVE, at)
            self._register.escalate(
                incident, at, f"inconclusive: {self._said(verification, judgement)} since the directive was undone"
            )

    # -- the end

    def _healed(
        self,
        incident: Incident,
        execution: Execution,
        verification: Verification,
        said: str,
        accumulator: Accumulator | None,
        at: datetime,
    ) -> None:
        due = self._verification.credit(incident, execution)
        judged = self._store.get(Verification, verification.id)
        self._store.put(msgspec.structs.replace(judged, credit=due))
        self._store.put(msgspec.structs.replace(execution, status=ExecutionStatus.SUCCEEDED, updated_at=at))
        self._verification.learn(incident, execution, Result.HEALED, at, due)
        reason = CloseReason.HEALED if due > 0 else CloseReason.RECOVERED
        text = said if due > 0 else f"{said}; untreated series of {incident.trigger} recovered too: no credit is due"
        self._register.close(incident, at, reason, text, accumulator=accumulator)

    def end(self, incident: Incident, at: datetime, why: str) -> None:
        """An incident is escalated or closed: nothing is judged any more, and when closed nothing stays in force.

        What is intended and not begun is not done, but for the analysis of what is escalated. What is under way ends,
        and of a closed one is undone by :meth:`let_go`; so is what stays while a person has said stop, unless it was a
        person who closed the incident.
        """
        self._verification.drop(incident, at)
        closed = incident.state is IncidentState.CLOSED
        if closed and (incident.closed_by is not None or self._free()):
            self._directives.undo_owned(incident.id, at=at, reason=why)
        for execution in self._store.select(Execution, incident=incident.id):
            not_begun = execution.status is ExecutionStatus.INTENDED and not execution.tries
            if not_begun and (closed or execution.step != DIAGNOSTIC_STEP):
                self._cancel(execution, at, why)

    def let_go(self, at: datetime) -> None:
        """Undo what is in force for incidents that are closed: it came late, or a person had said stop."""
        if self._free():
            for owner in {each.owner for each in self._directives.in_force(at=at)} - self._register.open.keys():
                self._directives.undo_owned(owner, at=at, reason=f"incident {owner} is closed")

    def _said(self, verification: Verification, judgement: Judgement) -> str:
        samples = f"on {judgement.samples} sample{'' if judgement.samples == 1 else 's'}"
        judging = self._verification.judging(verification, judgement)
        value = "no value" if judgement.value is None else amount(judgement.value, unit(judging))
        if judgement.overruled:
            return f"{value} {samples}, though {verification.judged_by} is well"
        return f"{value} {samples} of {verification.judged_by}" if verification.judged_by else f"{value} {samples}"


def _never_began(execution: Execution) -> bool:
    return execution.status is ExecutionStatus.FAILED and not execution.tries
