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
from self_healing.spec import ActionSpec, Composite, Spec, TriggerSpec
from self_healing.storage.store import Store
from self_healing.taps import Accumulator
from self_healing.verification import EXTENSIONS, Judgement, failed_probe, judge, judge_together


class Verifying:
    """Begins, feeds, extends and ends verifications, and learns from them.

    Args:
        store: the state; written in the transaction that is open.
        register: the incidents.
        spec_of: the spec that an incident goes on by.
        watch: begins to gather the tasks of a series under an id, from an instant on.
        accumulators: what is gathered, by id.
    """

    def __init__(
        self,
        store: Store,
        register: Register,
        spec_of: Callable[[Incident], Spec],
        *,
        watch: Callable[[str, str, Group, int], None],
        accumulators: Callable[[], dict[str, Accumulator]],
    ) -> None:
        self._store = store
        self._register = register
        self._spec_of = spec_of
        self._watch = watch
        self._accumulators = accumulators

    def prepare(self, execution: Execution, incident: Incident, at: datetime) -> None:
        """An effect is intended: gather from now on what its verification will judge, however late anybody looks."""
        about = self._register.children(incident) if incident.is_parent else [incident]
        for each in about:
            for id, trigger in self._watched(_since_intent(execution.id, each.id), self._trigger(each)):
                self._watch(id, trigger, each.group, to_us(at))

    def _trigger(self, incident: Incident) -> TriggerSpec:
        return self._spec_of(incident).trigger(incident.trigger)

    def _judged_by(self, verification: Verification) -> Spec:
        """The spec that its incident goes on by."""
        incident = self._register.open.get(verification.incident)
        return self._spec_of(incident or self._store.get(Incident, verification.incident))

    def _watched(self, id: str, trigger: TriggerSpec) -> list[tuple[str, str]]:
        """Under which ids what is gathered of which triggers: of the one itself, or of those that it looks at."""
        condition = trigger.condition
        return (
            [(_of(id, name), name) for name in condition.members]
            if isinstance(condition, Composite)
            else [(id, trigger.name)]
        )

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
        trigger = self._trigger(incident)
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
            tasks=action.verification.min_samples,
            peak=incident.peak,
            threshold=incident.threshold,
            baseline=incident.baseline,
            members=self._members(trigger, incident.group, at),
        )
        self._store.put(verification)
        self._gather(verification, trigger)
        until = f"{verification.deadline:%H:%M:%S}"
        text = f"{verification.needed} samples from tasks begun after {effect_at:%H:%M:%S} decide, until {until}"
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
        self, trigger: TriggerSpec, group: Group, at: datetime
    ) -> dict[str, tuple[float | None, float | None]]:
        """The limits of the triggers that it looks at, as they are frozen now: of those that fire, if any does."""
        if not isinstance(trigger.condition, Composite):
            return {}
        said = [self._register.said(name, group, at) for name in trigger.condition.members]
        firing = [each for each in said if each.state in (SeriesState.FIRING, SeriesState.RECOVERING)]
        return {each.trigger: (each.threshold, each.baseline) for each in firing or said}

    def _gather(self, verification: Verification, trigger: TriggerSpec) -> None:
        """Go on with what was gathered since the intent, but for the tasks that began before the effect."""
        since_intent = _since_intent(verification.execution, verification.incident)
        earlier = [id for id, _ in self._watched(since_intent, trigger)]
        for (id, name), before in zip(self._watched(verification.id, trigger), earlier, strict=True):
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
        """What was gathered for it so far; None for what looks at other triggers and has no samples of its own."""
        if isinstance(self._judged_by(verification).trigger(verification.trigger).condition, Composite):
            return None
        return self._gathered(verification.id, verification.trigger, verification)

    def _gathered(self, id: str, trigger: str, verification: Verification) -> Accumulator:
        accumulators = self._accumulators()
        if id not in accumulators:
            # The spec changed what the trigger measures: what was gathered says nothing any more, and it begins anew.
            self._watch(id, trigger, verification.group, to_us(verification.effect_at))
        return accumulators[id]

    def judgement(self, verification: Verification, at: datetime) -> Judgement:
        """What was gathered so far says at `at`."""
        spec = self._judged_by(verification)
        trigger = spec.trigger(verification.trigger)
        if not isinstance(trigger.condition, Composite):
            return judge(verification, trigger, self._gathered(verification.id, trigger.name, verification), at)
        each = [judge(one, member, gathered, at) for one, member, gathered in self._each(verification, spec)]
        return judge_together(trigger.condition, each, at, verification.deadline)

    def failed_probe(self, verification: Verification, at: datetime) -> bool:
        """Whether one of the first tasks of an agent that was let back is as bad as ever."""
        spec = self._judged_by(verification)
        trigger = spec.trigger(verification.trigger)
        if not isinstance(trigger.condition, Composite):
            gathered = self._gathered(verification.id, trigger.name, verification)
            return failed_probe(trigger, verification, gathered, at)
        failed = [failed_probe(member, one, gathered, at) for one, member, gathered in self._each(verification, spec)]
        return bool(failed) and (all(failed) if trigger.condition.all_of else any(failed))

    def _each(self, verification: Verification, spec: Spec) -> Iterator[tuple[Verification, TriggerSpec, Accumulator]]:
        """The same for each of the triggers that are looked at, as if it were verified by itself."""
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


_MEMBER = "#"


def _of(id: str, member: str) -> str:
    """Under which id is gathered of a trigger that another one looks at."""
    return f"{id}{_MEMBER}{member}"


def _since_intent(execution: str, incident: str) -> str:
    """Under which id is gathered from the intent on what will be judged of an incident."""
    return f"{execution}/{incident}"
