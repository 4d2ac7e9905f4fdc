"""Verifying: one judgement after the other for an incident, from what is gathered of its series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from self_healing.clock import to_us
from self_healing.incidents.lifecycle import moved
from self_healing.incidents.register import Register
from self_healing.learning import learnt, lesson_id
from self_healing.model import (
    CloseReason,
    Execution,
    Group,
    Incident,
    IncidentState,
    Lesson,
    Result,
    SeriesState,
    Verification,
    VerificationPhase,
    new_id,
)
from self_healing.spec import ActionSpec, Composite, Spec, TriggerSpec, judged_by
from self_healing.storage.store import Store
from self_healing.taps import Accumulator
from self_healing.telemetry.signals import unit
from self_healing.verification import EXTENSIONS, Judgement, credit, failed_probe, judge, judge_together, overruled

MOST_COMPARED = 1_000
"""So many of the newest incidents of a trigger are looked at for the credit."""


class Verifying:
    """Begins, feeds, extends and ends verifications, and learns from them.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        spec_of: the spec that an incident goes on by.
        watch: begins to gather the tasks of a series under an id, from an instant on.
        value: of a series' window at an instant, microseconds.
        accumulators: what is gathered, by id.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        spec_of: Callable[[Incident], Spec],
        *,
        watch: Callable[[str, str, Group, int], None],
        value: Callable[[str, Group, int], float | None],
        accumulators: Callable[[], dict[str, Accumulator]],
    ) -> None:
        self._store = store
        self._register = register
        self._spec_of = spec_of
        self._watch = watch
        self._value = value
        self._accumulators = accumulators

    def prepare(self, execution: Execution, incident: Incident, at: datetime) -> None:
        """An effect is intended: gather from now on what its verification will judge, however late anybody looks."""
        about = self._register.children(incident) if incident.is_parent else [incident]
        for each in about:
            spec = self._spec_of(each)
            for id, trigger in self._watched(
                _since_intent(execution.id, each.id), each.trigger, execution.action, spec
            ):
                self._watch(id, trigger, each.group, to_us(at))

    def _judged_by(self, verification: Verification) -> Spec:
        """The spec that its incident goes on by."""
        incident = self._register.open.get(verification.incident)
        return self._spec_of(incident or self._store.get(Incident, verification.incident))

    def judging(self, verification: Verification, said: Judgement | None = None) -> TriggerSpec:
        """What the tasks are held against: the incident's trigger, or the action's own signal in its place.

        Args:
            said: the judgement whose value is told; of one that was overruled, the trigger said it.
        """
        spec = self._judged_by(verification)
        if said is not None and said.overruled:
            return spec.trigger(verification.trigger)
        return _judging(verification.trigger, verification.action, spec)

    @staticmethod
    def _watched(id: str, trigger: str, action: str, spec: Spec) -> list[tuple[str, str]]:
        """Under which ids what is gathered of which triggers: of the one itself, or of those that it looks at.

        Where an action is judged by its own signal, also of the trigger itself, whose window begins anew with that.
        """
        judging, itself = _judging(trigger, action, spec), spec.trigger(trigger)
        if judging.name != trigger:
            also = [] if isinstance(itself.condition, Composite) else [(_of(id, trigger), trigger)]
            return [(id, judging.name), *also]
        if isinstance(itself.condition, Composite):
            return [(_of(id, name), name) for name in itself.condition.members]
        return [(id, trigger)]

    def begin(
        self,
        incident: Incident,
        execution: Execution,
        action: ActionSpec,
        phase: VerificationPhase,
        effect_at: datetime,
        at: datetime,
    ) -> None:
        """Begin to judge; a mitigated incident stays mitigated while it is.

        A parent is judged by what is beneath it: each that has nothing under way itself, on its own series.
        """
        if incident.is_parent:
            self._begin_beneath(incident, execution, action, effect_at, at)
            return
        spec = self._spec_of(incident)
        judging = _judging(incident.trigger, action.name, spec)
        own = judging.name != incident.trigger
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
            needed=action.verification.min_samples
            if own
            else max(judging.min_samples, action.verification.min_samples),
            tasks=action.verification.min_samples,
            peak=self._before(incident, execution, judging, effect_at) if own else incident.peak,
            threshold=judging.fixed.value if own and judging.fixed is not None else incident.threshold,
            baseline=None if own else incident.baseline,
            members=self._members(spec.trigger(incident.trigger), incident, at, own=own),
            judged_by=f"{judging.aggregate.value} {judging.signal}" if own else None,
            unit=unit(judging),
        )
        self._store.put(verification)
        self._gather(verification, spec)
        by = f" by {verification.judged_by}" if own else ""
        until = f"{verification.deadline:%H:%M:%S}"
        text = f"{verification.needed} samples from tasks begun after {effect_at:%H:%M:%S} decide{by}, until {until}"
        if phase is VerificationPhase.UNDONE:
            incident = msgspec.structs.replace(incident, verification=verification.id)
        else:
            incident = moved(incident, IncidentState.VERIFYING, at, verification=verification.id)
        self._register.note(incident, at, "verifying", text)

    def _begin_beneath(
        self, parent: Incident, execution: Execution, action: ActionSpec, effect_at: datetime, at: datetime
    ) -> None:
        waiting = self.begin_waiting(parent, execution, action, effect_at, at)
        text = f"{waiting} beneath it are judged from {effect_at:%H:%M:%S} on, each on its own samples"
        self._register.note(moved(parent, IncidentState.VERIFYING, at), at, "verifying", text)

    def begin_waiting(
        self, parent: Incident, execution: Execution, action: ActionSpec, effect_at: datetime, at: datetime
    ) -> int:
        """Begin to judge what waits beneath a parent and was not judged for its `execution` yet; returns how many."""
        waiting = [
            child
            for child in self._register.children(parent)
            if child.state is IncidentState.OPEN and child.execution != execution.id
        ]
        for child in waiting:
            acting = moved(child, IncidentState.ACTING, at, execution=execution.id, attempts=child.attempts + 1)
            acting = self._register.note(acting, at, "acting", f"{execution.action}, handed over by {parent.id}")
            self.begin(acting, execution, action, VerificationPhase.EFFECT, effect_at, at)
        return len(waiting)

    def _members(
        self, trigger: TriggerSpec, incident: Incident, at: datetime, *, own: bool
    ) -> dict[str, tuple[float | None, float | None]]:
        """The limits of the triggers that are looked at beside, as they are frozen now.

        These are the ones that it is made of, of which only those that fire where any does; or the trigger itself,
        where the action is judged by its own signal.
        """
        if not isinstance(trigger.condition, Composite):
            return {trigger.name: (incident.threshold, incident.baseline)} if own else {}
        if own:
            return {}
        said = [self._register.said(name, incident.group, at) for name in trigger.condition.members]
        firing = [each for each in said if each.state in (SeriesState.FIRING, SeriesState.RECOVERING)]
        return {each.trigger: (each.threshold, each.baseline) for each in firing or said}

    def _before(
        self, incident: Incident, execution: Execution, judging: TriggerSpec, effect_at: datetime
    ) -> float | None:
        """What an action's own signal said before its effect: it may not become much worse than that."""
        earlier = None if incident.verification is None else self._store.find(Verification, incident.verification)
        if earlier is not None and earlier.execution == execution.id:
            return earlier.peak  # by now its directive may have changed it
        return self._value(judging.name, incident.group, to_us(effect_at))

    def _gather(self, verification: Verification, spec: Spec) -> None:
        """Go on with what was gathered since the intent, but for the tasks that began before the effect."""
        about = verification.trigger, verification.action, spec
        since_intent = _since_intent(verification.execution, verification.incident)
        earlier = [id for id, _ in self._watched(since_intent, *about)]
        for (id, name), before in zip(self._watched(verification.id, *about), earlier, strict=True):
            self._gather_one(id, name, verification, self._accumulators().pop(before, None))

    def _gather_one(self, id: str, trigger: str, verification: Verification, gathered: Accumulator | None) -> None:
        effect_us = to_us(verification.effect_at)
        if gathered is None:
            self._watch(id, trigger, verification.group, effect_us)
            return
        gathered.effect_us = effect_us
        gathered.tasks = {name: task for name, task in gathered.tasks.items() if task.start_us >= effect_us}
        self._accumulators()[id] = gathered

    def of(self, incident: Incident) -> Verification:
        """The newest verification of an incident that has one."""
        return self._store.get(Verification, incident.verification or "")

    def gathered(self, verification: Verification) -> Accumulator | None:
        """What was gathered of its trigger's series; None for what looks at other triggers and has no samples."""
        spec = self._judged_by(verification)
        if isinstance(spec.trigger(verification.trigger).condition, Composite):
            return None
        watched = self._watched(verification.id, verification.trigger, verification.action, spec)
        id = next(id for id, name in watched if name == verification.trigger)
        return self._gathered(id, verification.trigger, verification)

    def _gathered(self, id: str, trigger: str, verification: Verification) -> Accumulator:
        gathered = self._accumulators().get(id)
        if gathered is None or gathered.trigger != trigger:
            # The spec changed what is measured: what was gathered says nothing any more, and it begins anew.
            self._watch(id, trigger, verification.group, to_us(verification.effect_at))
        return self._accumulators()[id]

    def judgement(self, verification: Verification, at: datetime) -> Judgement:
        """What was gathered so far says at `at`."""
        judging = self.judging(verification)
        if isinstance(judging.condition, Composite):
            each = [judge(one, member, gathered, at) for one, member, gathered in self._each(verification)]
            return judge_together(judging.condition, each, at, verification.deadline)
        said = judge(verification, judging, self._gathered(verification.id, judging.name, verification), at)
        for one, itself, gathered in self._each(verification):
            said = overruled(said, judge(one, itself, gathered, at))
        return said

    def failed_probe(self, verification: Verification, at: datetime) -> bool:
        """Whether one of the first tasks of an agent that was let back is as bad as ever."""
        judging = self.judging(verification)
        if not isinstance(judging.condition, Composite):
            gathered = self._gathered(verification.id, judging.name, verification)
            return failed_probe(judging, verification, gathered, at)
        failed = [failed_probe(member, one, gathered, at) for one, member, gathered in self._each(verification)]
        return bool(failed) and (all(failed) if judging.condition.all_of else any(failed))

    def _each(self, verification: Verification) -> Iterator[tuple[Verification, TriggerSpec, Accumulator]]:
        """The same for each of the triggers that are looked at beside, as if it were verified by itself."""
        spec = self._judged_by(verification)
        for name, (threshold, baseline) in verification.members.items():
            member = next((each for each in spec.triggers if each.name == name), None)
            if member is None:
                continue  # it is declared no more
            needed = max(verification.needed, member.min_samples)
            one = msgspec.structs.replace(
                verification, trigger=name, needed=needed, peak=None, threshold=threshold, baseline=baseline
            )
            yield one, member, self._gathered(_of(verification.id, name), name, verification)

    def extended(
        self, incident: Incident, verification: Verification, action: ActionSpec, judgement: Judgement, at: datetime
    ) -> bool:
        """Give an inconclusive verification its time again, if it may have it."""
        if judgement.result is not Result.INCONCLUSIVE or verification.extended >= EXTENSIONS:
            return False
        length = timedelta(seconds=action.verification.deadline)
        extended = msgspec.structs.replace(
            verification, extended=verification.extended + 1, deadline=max(verification.deadline, at) + length
        )
        self._store.put(extended)
        text = f"too little to judge by; extended to {extended.deadline:%H:%M:%S}"
        self._register.note(incident, at, "extended", text)
        return True

    def judged(self, verification: Verification, judgement: Judgement, at: datetime) -> None:
        """It is judged; nothing more is gathered for it."""
        if judgement.overruled:
            trigger = self._judged_by(verification).trigger(verification.trigger)
            threshold, baseline = verification.members[trigger.name]
            verification = msgspec.structs.replace(
                verification, judged_by=None, unit=unit(trigger), threshold=threshold, baseline=baseline
            )
        self._store.put(
            msgspec.structs.replace(
                verification,
                result=judgement.result,
                value=judgement.value,
                samples=judgement.samples,
                judged_at=at,
            )
        )
        accumulators = self._accumulators()
        for id in [id for id in accumulators if id.partition(_MEMBER)[0] == verification.id]:
            del accumulators[id]

    def learn(self, incident: Incident, execution: Execution, result: Result, at: datetime, due: float = 0.0) -> None:
        """What an execution came to, for good, is a lesson; what came of a parent's, the parent says."""
        if execution.incident != incident.id:
            return
        lesson = self._store.get(Lesson, lesson_id(execution.trigger, execution.action, execution.target))
        heal_s = (at - incident.opened_at).total_seconds() if result is Result.HEALED else None
        self._store.put(learnt(lesson, result, at, heal_s=heal_s, credit=due))

    def credit(self, incident: Incident, execution: Execution) -> float:
        """What of a healing is due to its execution, 0 to 1: other series were left alone meanwhile."""
        since = execution.created_at
        others = [
            other
            for other in self._store.select(Incident, trigger=incident.trigger, newest=MOST_COMPARED)
            if other.id != incident.id
            and not other.attempts
            and other.opened_at <= since
            and (other.closed_at is None or other.closed_at >= since)
        ]
        recovered = [other for other in others if other.close_reason is CloseReason.RECOVERED]
        return credit(1, len(recovered), len(others))

    def drop(self, incident: Incident, at: datetime) -> None:
        """Nothing of an incident is judged any more."""
        for verification in self._store.select(Verification, incident=incident.id, open="yes"):
            self.judged(verification, Judgement(Result.INCONCLUSIVE, None, 0), at)
        if incident.state in (IncidentState.ESCALATED, IncidentState.CLOSED):
            self._drop_since_intent(incident)

    def _drop_since_intent(self, incident: Incident) -> None:
        accumulators = self._accumulators()
        ending = _since_intent("", incident.id)
        for id in [id for id in accumulators if id.partition(_MEMBER)[0].endswith(ending)]:
            del accumulators[id]


def _judging(trigger: str, action: str, spec: Spec) -> TriggerSpec:
    """What says whether an action helped; the trigger itself, where the action is declared no more."""
    found, declared = spec.trigger(trigger), next((each for each in spec.actions if each.name == action), None)
    return found if declared is None else judged_by(found, declared)


_MEMBER = "#"


def _of(id: str, member: str) -> str:
    """Under which id is gathered of a trigger that another one looks at."""
    return f"{id}{_MEMBER}{member}"


def _since_intent(execution: str, incident: str) -> str:
    """Under which id is gathered from the intent on what will be judged of an incident."""
    return f"{execution}/{incident}"
