"""Proposing: the next step of every incident that waits goes to the gate, and on as the gate says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from self_healing.actions.planning import WAITING, Decide, Planner
from self_healing.handoffs.outbox import handed
from self_healing.incidents.lifecycle import moved
from self_healing.incidents.register import Register
from self_healing.learning import begun, lesson_id
from self_healing.loop.probation import Pausing, Probation
from self_healing.loop.stepping import Stepping
from self_healing.loop.underway import Underway
from self_healing.loop.verifying import Verifying
from self_healing.model import (
    CAUSE,
    Execution,
    ExecutionStatus,
    Handoff,
    Incident,
    IncidentState,
    Lesson,
    Muted,
    SeriesState,
    group_dict,
)
from self_healing.spec import ActionSpec, Priority, Spec
from self_healing.storage.store import Store
from self_healing.wording import plain

FLEET_STOP = "fleet_stop"

FINAL = frozenset((FLEET_STOP, "attempts_of_incident", "attempts_on_target"))
"""Denials after which no other step of the plan would fare better."""

MOST_NEW, MOST_WAITING = 20, 200
"""Once the limits are used up, so many incidents that have not waited yet, and so many in all, are looked at in a turn.

A first proposal costs some 3 ms, to look again at one that waits less: no storm is to keep the next turn from coming.
The others take their turns, so that 10,000 are all told within some minutes that they wait."""

FULL = frozenset(("rate_limit", "concurrency_limit"))
"""Deferrals that whatever else waits at the instant would get as well."""


class Proposer:
    """Goes on with the incidents that wait for an action.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        planner: makes proposals, and executions of the answers.
        verifying: gathers from the intent on what will be judged.
        underway: takes what is intended.
        stepping: says of which incidents a step is.
        probation: knows by what an agent is paused.
        state_of: the state of a series.
        spec: the loaded spec.
        spec_of: the spec that an incident goes on by.
        observe: whether effects are only recorded as ``would``; then nothing is escalated either.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        planner: Planner,
        verifying: Verifying,
        underway: Underway,
        stepping: Stepping,
        probation: Probation,
        *,
        state_of: Callable[[str, Any], SeriesState],
        spec: Spec,
        spec_of: Callable[[Incident], Spec],
        observe: bool,
    ) -> None:
        self._store = store
        self._register = register
        self._planner = planner
        self._verifying = verifying
        self._underway = underway
        self._stepping = stepping
        self._probation = probation
        self._state_of = state_of
        self._spec = spec
        self._spec_of = spec_of
        self._observe = observe
        self._order = {priority: place for place, priority in enumerate(Priority)}
        self._looked_at = ""  # the last incident that had its turn though the limits were used up

    def propose(self, decide: Decide, at: datetime) -> list[str]:
        """Propose the next step of every incident that waits, the most urgent first.

        Args:
            decide: the gate.

        Returns:
            The executions that may begin.
        """
        allowed: list[str] = []
        waiting = [i for i in self._register.open.values() if i.state is IncidentState.OPEN]
        order = sorted(waiting, key=self._urgencies())
        for place, found in enumerate(order):
            execution = self._look(found, decide, at, full=False)
            if execution is not None and execution.status is ExecutionStatus.INTENDED:
                allowed.append(execution.id)
            if execution is not None and FULL & _reasons(execution):
                self._take_turns(order[place + 1 :], decide, at)
                break
        return allowed

    def _take_turns(self, waiting: list[Incident], decide: Decide, at: datetime) -> None:
        """The limits are used up: let some of those that wait say so, in turn; nothing is allowed at this instant."""
        after = next((place + 1 for place, each in enumerate(waiting) if each.id == self._looked_at), 0)
        new = 0
        for found in (waiting[after:] + waiting[:after])[:MOST_WAITING]:
            new += found.execution is None
            if new > MOST_NEW:
                break
            self._look(found, decide, at, full=True)
            self._looked_at = found.id

    def _look(self, found: Incident, decide: Decide, at: datetime, *, full: bool) -> Execution | None:
        """Go on with one incident that waits; returns what its next step came to, if it was proposed."""
        incident = self._register.open[found.id]
        if incident.state is not IncidentState.OPEN:
            return None  # its parent was escalated
        before = self._store.find(Execution, incident.execution) if incident.execution else None
        carried = before if before is not None and _carried(before, incident) else None
        if not self._due(incident, before):
            return None
        muted = self._register.muted(incident, at)
        if muted is not None:
            self._hold(incident, muted, at)
            return None
        if full and carried is not None:
            self._wait(incident, carried, carried, at)
            return None
        return self._step(incident, carried, decide, at)

    def rest(self, who: str, at: datetime) -> None:
        """A person has stopped healing: nothing is proposed, and each incident that would be says so once."""
        for incident in list(self._register.open.values()):
            if incident.state is IncidentState.OPEN and _last(incident) != "stopped":
                self._register.note(incident, at, "stopped", f"healing is stopped by {who}; nothing is proposed")

    def _hold(self, incident: Incident, muted: Muted, at: datetime) -> None:
        """Nothing is proposed while it is muted, and it says so once."""
        if _last(incident) != "muted":
            self._register.note(incident, at, "muted", f"{muted}; nothing is proposed")

    def _urgencies(self) -> Callable[[Incident], tuple[int, datetime]]:
        """How urgent each incident is; found out once for all that have the same plan and stand at the same step."""
        known: dict[tuple[str, str, int], int] = {}

        def urgency(incident: Incident) -> tuple[int, datetime]:
            stands = (incident.trigger, incident.plan_version, incident.step)
            place = known.get(stands)
            if place is None:
                action = self._action_of(incident)
                place = known[stands] = len(self._order) if action is None else self._order[action.priority]
            return place, incident.opened_at

        return urgency

    def _action_of(self, incident: Incident) -> ActionSpec | None:
        name = incident.plan[incident.step] if incident.step < len(incident.plan) else None
        return next((action for action in self._spec_of(incident).actions if action.name == name), None)

    def _due(self, incident: Incident, before: Execution | None) -> bool:
        """Whether its next step is to be proposed now: only while its series fires, and in observe mode once."""
        if self._observe and before is not None and before.status is ExecutionStatus.WOULD:
            return False
        if incident.is_parent:
            children = self._register.children(incident)
            return any(child.state is not IncidentState.ESCALATED and self._fires(child) for child in children)
        action = self._action_of(incident)
        if incident.parent is not None and (action is None or not self._planner.settings(action, incident)):
            return False  # its parent hands over for it, and there is nothing to set
        return self._fires(incident)

    def _fires(self, incident: Incident) -> bool:
        return self._state_of(incident.trigger, incident.group) is SeriesState.FIRING

    def _step(self, incident: Incident, carried: Execution | None, decide: Decide, at: datetime) -> Execution | None:
        """The next step of one incident: propose it, wait with it, go on to the next, or escalate."""
        if incident.step >= len(incident.plan):
            done = "no action is declared for it" if not incident.plan else "no action of its plan is left"
            self._escalate(incident, at, done)
            return None
        action = self._action_of(incident)
        if action is None:
            self._skip(incident, at, "skipped", f"action {incident.plan[incident.step]} is no longer declared")
            return None
        why = self._stepping.unmet(incident, action.name)
        if why is not None:
            self._skip(incident, at, "skipped", f"{action.name} is passed over: {why}")
            return None
        if carried is not None and _resting(incident):
            # The time for which it was muted, or a person had stopped everything, does not count as waiting.
            carried = msgspec.structs.replace(carried, created_at=at)
            self._store.put(carried)
        if _resting(incident):
            incident = self._register.note(incident, at, "resumed", "healing goes on")
        execution = self._planner.propose(incident, action, incident.step, decide, at, carried)
        self._answered(msgspec.structs.replace(incident, execution=execution.id), execution, carried, at)
        return execution

    def _answered(self, incident: Incident, execution: Execution, carried: Execution | None, at: datetime) -> None:
        """Go on as the gate said."""
        match execution.status:
            case ExecutionStatus.INTENDED:
                self.intend(execution, at)
                self._verifying.prepare(execution, incident, at)
                acting = moved(incident, IncidentState.ACTING, at, attempts=incident.attempts + 1)
                handoff = None if execution.handoff is None else self._store.get(Handoff, execution.handoff)
                to = "" if handoff is None else f", {handed(handoff)}"
                what = f"{execution.action} for {execution.target}{to}"
                self._register.note(acting, at, "acting", what + _settings(execution))
            case ExecutionStatus.WOULD:
                text = f"{execution.action}{_settings(execution)}; mode is observe"
                self._register.note(incident, at, "would", text)
            case ExecutionStatus.DENIED:
                denied = f"{execution.action} is denied: {execution.reason}"
                further = self._skip(incident, at, "denied", denied)
                if FINAL & _reasons(execution):
                    concerned = self._concerned(further, execution, at)
                    if concerned.state is not IncidentState.ESCALATED:  # with those that a person has, it is by now
                        self._escalate(concerned, at, denied)
            case _:
                self._wait(incident, execution, carried, at)

    def _concerned(self, incident: Incident, execution: Execution, at: datetime) -> Incident:
        """Whom a final denial concerns: where much of the fleet is unwell, all that the trigger fires for, else one."""
        if FLEET_STOP not in _reasons(execution) or incident.is_parent:
            return incident
        parent = None if incident.parent is None else self._register.open.get(incident.parent)
        return parent or self._register.join_all(incident, at)

    def intend(self, execution: Execution, at: datetime) -> None:
        """An execution is intended: it counts against the limits, and as a try of its action."""
        self._underway.add(execution)
        lesson = self._store.find(Lesson, lesson_id(execution.trigger, execution.action, execution.target))
        self._store.put(begun(lesson, execution, at))

    def _wait(self, incident: Incident, execution: Execution, carried: Execution | None, at: datetime) -> None:
        patience = timedelta(seconds=self._spec.limits.defer_at_most)
        asked = execution.status is ExecutionStatus.AWAITING_APPROVAL  # which has a time of its own, and ends with a no
        pausing = self._probation.holding(incident)
        # What waits beneath a parent is judged when the parent's handoff ends, and escalates with the parent.
        if pausing is not None and self._probation.held_off(pausing, incident, at):
            self._back(incident, pausing, at, f"{execution.action} waits: {execution.reason}")
        elif not asked and incident.parent is None and at - execution.created_at >= patience:
            self._escalate(incident, at, f"{execution.action} waited too long: {execution.reason}")
        elif carried is None or (carried.reason != execution.reason and not (asked and _asked(incident, execution))):
            self._register.note(incident, at, str(execution.status), f"{execution.action}: {execution.reason}")

    def _skip(self, incident: Incident, at: datetime, what: str, text: str) -> Incident:
        """Pass over a step."""
        further = msgspec.structs.replace(incident, step=incident.step + 1)
        return self._register.note(further, at, what, text)

    def _escalate(self, incident: Incident, at: datetime, why: str) -> None:
        if incident.is_parent:
            why = f"{why}; its agents share {group_dict(incident.group)[CAUSE]}"
        pausing = self._probation.holding(incident)
        if pausing is not None and not self._observe:
            self._back(incident, pausing, at, why)
        elif not self._observe:
            self._register.escalate(incident, at, why)
        elif incident.notes[-1].what != "would":
            self._register.note(incident, at, "would", f"escalate: {why}; mode is observe")

    def _back(self, incident: Incident, pausing: Pausing, at: datetime, why: str) -> None:
        """The agent is paused still by an earlier step: its hold-off and the probes decide before a person has it."""
        acting = moved(incident, IncidentState.ACTING, at, execution=pausing.by.id)
        self._register.note(acting, at, "held", f"{why}; {pausing.by.action} has paused the agent, whose probes decide")


def _carried(before: Execution, incident: Incident) -> bool:
    """Whether an execution waits for the very step that is next."""
    return before.status in WAITING and before.step == incident.step and before.attempt == incident.next_attempt


def _resting(incident: Incident) -> bool:
    return _last(incident) in ("stopped", "muted")


def _last(incident: Incident) -> str | None:
    """What the last line of its timeline is about."""
    return incident.notes[-1].what if incident.notes else None


def _asked(incident: Incident, execution: Execution) -> bool:
    """Whether its timeline says already that a person is asked for a step that waits.

    What else speaks against it may come and go meanwhile; the question stays.
    """
    return any(
        note.what == ExecutionStatus.AWAITING_APPROVAL.value and note.text.startswith(f"{execution.action}: ")
        for note in incident.notes
        if note.at >= incident.opened_at
    )


def _reasons(execution: Execution) -> frozenset[str]:
    return frozenset((execution.reason or "").split(", "))


def _settings(execution: Execution) -> str:
    shown = ", ".join(f"{name}={plain(value)}" for name, value in execution.settings.items())
    return f", with {shown}" if shown else ""
