"""The register: the incidents that are not closed, and the only way in which any of them changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from datetime import datetime
from functools import cache
from typing import Protocol

import msgspec

from self_healing.clock import from_us, to_us
from self_healing.incidents.lifecycle import (
    NO_DATA_AFTER,
    REOPEN_WITHIN,
    closed,
    escalated,
    fresh_notes,
    noted,
    opened,
    over_at,
    peaked,
    reopenable,
    reopened,
    replanned,
)
from self_healing.model import (
    CAUSE,
    CloseReason,
    Group,
    Incident,
    IncidentState,
    Muted,
    Note,
    Reason,
    SeriesState,
    Transition,
    Verdict,
    affected_agent,
    group_label,
)
from self_healing.spec import Spec
from self_healing.storage.lately import lately
from self_healing.storage.store import Store
from self_healing.taps import Accumulator
from self_healing.wording import span

FEW_CLOSED = 1_000
"""So many closed ones are held before any is let go of; then twice as many as may still be reopened."""

_UNATTENDED = frozenset((IncidentState.OPEN, IncidentState.ESCALATED))

Key = tuple[str, Group]


class SeriesPort(Protocol):
    """What the register needs of the trigger engine."""

    def leave_out(self, trigger: str, group: Group, start_us: int, end_us: int | None) -> None:
        """Leave a stretch of time out of the series' baselines."""
        ...

    def readmit(self, trigger: str, group: Group, start_us: int) -> None:
        """Let what was left out since then count after all."""
        ...

    def reset(self, trigger: str, group: Group, t_us: int) -> None:
        """Set the series inactive."""
        ...

    def state_of(self, trigger: str, group: Group) -> SeriesState:
        """The state of the series."""
        ...

    def stirring(self, trigger: str) -> Set[Group]:
        """The groups of which a trigger's series is not inactive."""
        ...

    def verdict(self, trigger: str, group: Group, t_us: int) -> Verdict:
        """What the trigger says of the series at an instant."""
        ...

    def well(self, trigger: str, group: Group, t_us: int) -> bool:
        """Whether the series has enough samples at an instant, and its condition is not met."""
        ...

    def muted_by(self, trigger: str, group: Group, at: datetime) -> Muted | None:
        """What keeps the series from opening an incident at an instant."""
        ...

    def firing(self) -> list[Key]:
        """The series that fire now."""
        ...

    def enough_at_us(self, trigger: str, group: Group) -> int:
        """When it last had enough samples."""
        ...


class Register:
    """The incidents that are not closed.

    Args:
        store: the state; every change is put there at once, in the transaction that is open.
        series: the trigger engine.
        restart: lets a series' window begin anew, with what a verification gathered.
        end: ends what an incident that was escalated or closed has under way, and why.
        spec: the loaded spec.
        spec_of: the spec that an incident goes on by.
        told: hears of every incident with its new lines, and whether its state changed.
    """

    def __init__(
        self,
        store: Store,
        series: SeriesPort,
        *,
        restart: Callable[[str, Group, int, Accumulator | None], None],
        end: Callable[[Incident, datetime, str], None],
        spec: Spec,
        spec_of: Callable[[Incident], Spec],
        told: Callable[[Incident, tuple[Note, ...], bool], None],
    ) -> None:
        self._store = store
        self._series = series
        self._restart = restart
        self._end = end
        self._spec = spec
        self._spec_of = spec_of
        self._told = told
        states = [state.value for state in IncidentState if state is not IncidentState.CLOSED]
        self.open = {incident.id: incident for incident in store.select(Incident, state=states)}
        self.openings = 0  # how often incidents were opened or closed; that of two instants tells whether any was
        self._of = {(i.trigger, i.group): i.id for i in self.open.values()}
        self._parents = {id: None for id, incident in self.open.items() if incident.is_parent}  # in their order
        self._closed: dict[Key, Incident] = {}  # the last one of each series that has none open, while it may reopen
        self._many_closed = FEW_CLOSED
        self._silent_from: datetime | None = None  # before it none has been silent for a day; None where nobody looked
        self._muted: set[Key] = set()  # series that fire, and open nothing while they are muted
        for incident in lately(store, Incident, by="closed_at", span=REOPEN_WITHIN, at=over_at, state="closed"):
            self._remember(incident)

    def _remember(self, incident: Incident) -> None:
        key = (incident.trigger, incident.group)
        last = self._closed.get(key)
        if last is None or over_at(last) <= over_at(incident):
            self._closed[key] = incident

    @property
    def series(self) -> Iterable[tuple[str, Group]]:
        """The series that have an incident that is not closed."""
        return self._of.keys()

    def of(self, trigger: str, group: Group) -> Incident | None:
        """The incident of a series that is not closed, if there is one."""
        id = self._of.get((trigger, group))
        return None if id is None else self.open[id]

    def put(self, incident: Incident) -> Incident:
        """Store an incident as it is now; returns it."""
        key = (incident.trigger, incident.group)
        before = self.open.get(incident.id) or self._closed.get(key)
        if before is not None and before.id != incident.id:
            before = None
        self._store.put(incident)
        if incident.state is IncidentState.CLOSED:
            self.open.pop(incident.id, None)
            self._parents.pop(incident.id, None)
            self._of.pop(key, None)
            self._closed[key] = incident
        else:
            self.open[incident.id] = incident
            self._of[key] = incident.id
            if incident.is_parent:
                self._parents[incident.id] = None
        fresh = fresh_notes(before.notes if before is not None else (), incident.notes)
        changed = before is None or before.state is not incident.state
        if before is None or IncidentState.CLOSED in (before.state, incident.state):
            self.openings += 1
        if fresh or changed:
            self._told(incident, fresh, changed)
        return incident

    def note(self, incident: Incident, at: datetime, what: str, text: str) -> Incident:
        """Add a line to an incident's timeline; returns it."""
        return self.put(noted(incident, at, what, text))

    # -- what triggers say

    def take(self, transition: Transition) -> None:
        """Follow one series' change of state: open, reopen, or let go of what nobody acts on."""
        verdict = transition.verdict
        incident = self.of(verdict.trigger, verdict.group)
        key = (verdict.trigger, verdict.group)
        self._muted.discard(key)
        if transition.after is SeriesState.FIRING and incident is None:
            if self._series.muted_by(*key, verdict.at) is None:
                self._open(verdict)
            else:
                self._muted.add(key)
        elif transition.after is SeriesState.FIRING and incident is not None and verdict.flapping:
            self._note_flapping(incident, verdict.at)
        elif transition.after is SeriesState.INACTIVE and incident is not None:
            self._let_go(incident, verdict.at)

    def _open(self, verdict: Verdict) -> Incident:
        trigger = self._spec.trigger(verdict.trigger)
        last = self._closed.get((verdict.trigger, verdict.group))
        if last is not None and reopenable(last, verdict.at):
            incident = reopened(last, trigger, verdict)
        else:
            incident = opened(trigger, verdict)
        self.put(incident)
        if not incident.is_parent:
            self._series.leave_out(incident.trigger, incident.group, to_us(incident.opened_at), None)
        return self._note_flapping(incident, verdict.at) if verdict.flapping else incident

    def _note_flapping(self, incident: Incident, at: datetime) -> Incident:
        """Say once of each opening why it stays open for longer."""
        if any(note.what == "flapping" and note.at >= incident.opened_at for note in incident.notes):
            return incident
        trigger = self._spec.trigger(incident.trigger)
        often = f"it began to fire {trigger.flap_after} times within {span(trigger.flap_window)}"
        text = f"{often}; it recovers once it was well for {span(trigger.rest_s)}"
        return self.note(incident, at, "flapping", text)

    def _let_go(self, incident: Incident, at: datetime) -> None:
        """The series is inactive. An escalated incident goes only on enough samples: silence is no recovery."""
        if incident.state is IncidentState.OPEN:
            self.close(incident, at, CloseReason.RECOVERED, "the series went inactive and nothing was under way")
        elif incident.state is IncidentState.ESCALATED and self._well(incident, at):
            self.close(incident, at, CloseReason.RECOVERED, "the series went inactive after the escalation")

    def _well(self, incident: Incident, at: datetime) -> bool:
        return self._series.well(incident.trigger, incident.group, to_us(at))

    def tend(self, at: datetime) -> None:
        """What no transition says: silences that begin, a day without data, series that are well unattended."""
        may_be_silent = self._silent_from is None or at >= self._silent_from
        stirring = cache(self._series.stirring)  # what is closed on the way sets no series inactive but its own
        for incident in [each for each in self.open.values() if not each.is_parent]:
            muted = self._series.muted_by(incident.trigger, incident.group, at)
            if muted is not None and muted.suppresses:
                self.close(incident, at, CloseReason.SUPPRESSED, str(muted), by=muted.by)
            elif may_be_silent and at >= self._silent_at(incident):
                self.close(incident, at, CloseReason.NO_DATA, "24 h without enough samples")
            elif incident.state not in _UNATTENDED or incident.group in stirring(incident.trigger):
                continue
            elif self._well(incident, at):
                self._let_go(incident, at)
        for parent in [self.open[id] for id in self._parents if not self.children(self.open[id])]:
            self.close(parent, at, parent.worst_ending or CloseReason.RECOVERED, "nothing is open beneath it any more")
        if may_be_silent:
            # What opens later, and what had samples since, is silent for a day later still.
            self._silent_from = min([at + NO_DATA_AFTER, *self._silent_ats()])
        self._forget(at)

    def unmute(self, at: datetime) -> Iterator[Incident]:
        """Open an incident for each series that fires and is muted no more; one after the other, as each is taken."""
        for trigger, group in list(self._muted):
            if self._series.muted_by(trigger, group, at) is None:
                self._muted.discard((trigger, group))
                yield self._open(self._series.verdict(trigger, group, to_us(at)))

    def muted(self, incident: Incident, at: datetime) -> Muted | None:
        """What keeps an incident from further action at an instant; a parent, where that is so of all that fire."""
        about = [each for each in self.children(incident) if self._fires(each)] if incident.is_parent else [incident]
        muted = [self._series.muted_by(each.trigger, each.group, at) for each in about]
        return muted[0] if muted and None not in muted else None

    def held_back(self, at: datetime) -> dict[str, int]:
        """How many series fire and open nothing at an instant, by what mutes them."""
        muted = [self._series.muted_by(*key, at) for key in self._muted]
        return dict(Counter(each.why.value for each in muted if each is not None))

    def _fires(self, incident: Incident) -> bool:
        return self._series.state_of(incident.trigger, incident.group) is SeriesState.FIRING

    def _forget(self, at: datetime) -> None:
        """Let go of the closed ones that nothing reopens any more; looked through only when there are many."""
        if len(self._closed) > self._many_closed:
            self._closed = {key: each for key, each in self._closed.items() if reopenable(each, at)}
            self._many_closed = max(2 * len(self._closed), FEW_CLOSED)

    def _silent_at(self, incident: Incident) -> datetime:
        """When an incident closes for want of samples, unless there are some until then."""
        enough_us = self._series.enough_at_us(incident.trigger, incident.group)
        return from_us(max(enough_us, to_us(incident.opened_at))) + NO_DATA_AFTER

    def next_due(self) -> datetime | None:
        """When time alone may change an incident next: not before it."""
        if self._silent_from is None:
            return min(self._silent_ats(), default=None)
        return self._silent_from if self.open else None

    def _silent_ats(self) -> Iterator[datetime]:
        return (self._silent_at(each) for each in self.open.values() if not each.is_parent)

    def peak(self, incident: Incident, value: float | None) -> Incident:
        """Remember the worst value before the effect; returns the incident."""
        higher = peaked(incident, value, rising=self._spec_of(incident).trigger(incident.trigger).rising)
        if higher is not incident:
            self.put(higher)
        return higher

    # -- incidents that share a cause

    def children(self, parent: Incident) -> list[Incident]:
        """What is open beneath a parent."""
        return [incident for incident in self.open.values() if incident.parent == parent.id]

    def agents(self, incident: Incident) -> tuple[str, ...]:
        """The agents that an incident is about: one, or those of all that is open beneath it."""
        about = self.children(incident) if incident.is_parent else [incident]
        return tuple(dict.fromkeys(affected_agent(each.group) for each in about))

    def verdict(self, incident: Incident, at: datetime) -> Verdict:
        """What the trigger says of an incident's series; of a parent's, the one that says least for acting."""
        about = self.children(incident) if incident.is_parent else [incident]
        said = [self._series.verdict(each.trigger, each.group, to_us(at)) for each in about]
        firing = [each for each in said if each.state is SeriesState.FIRING]
        weakest = min(firing or said, key=lambda each: each.samples)
        return msgspec.structs.replace(weakest, group=incident.group)

    def said(self, trigger: str, group: Group, at: datetime) -> Verdict:
        """What a trigger says of a series."""
        return self._series.verdict(trigger, group, to_us(at))

    def join(self, trigger: str, group: Group, children: list[Incident], at: datetime) -> Incident:
        """Put incidents beneath the parent of that group, which is opened where there is none; returns it.

        One that a person has already takes the new ones along: the cause is that person's.
        """
        shared = group[0][1]
        parent = self.of(trigger, group) or self._open_parent(trigger, group, children, at)
        few = f"share {shared}, and few of the well agents do"
        return self._put_beneath(parent, children, f"it shares {shared} with others", few, at)

    def join_all(self, incident: Incident, at: datetime) -> Incident:
        """Make one of all that is open of an incident's trigger, where more is: too much of the fleet is unwell.

        The trigger is cause enough; the parent is the first that those have which are beneath one, else one that is
        named for the trigger. Those of other parents stay with theirs. Returns the parent, or `incident` where it is
        the only one.
        """
        others = [each for each in self.open.values() if each.trigger == incident.trigger]
        parent = next((each for each in others if each.is_parent), None)
        alone = [
            each
            for each in others
            if each.parent is None and not each.is_parent and each.state is not IncidentState.ESCALATED
        ]
        if parent is None:
            if len(alone) < 2:
                return incident
            group = ((CAUSE, f"trigger={incident.trigger}"),)
            parent = self._open_parent(incident.trigger, group, alone, at)
        why = "too much of the fleet is unwell at once"
        return self._put_beneath(parent, alone, why, f"go to a person together: {why}", at)

    def _put_beneath(
        self, parent: Incident, children: list[Incident], why: str, together: str, at: datetime
    ) -> Incident:
        for child in children:
            beneath = msgspec.structs.replace(child, parent=parent.id)
            beneath = self.note(beneath, at, "grouped", f"beneath {parent.id}: {why}")
            if parent.state is IncidentState.ESCALATED:
                self.escalate(beneath, at, f"{parent.id}, which it belongs to, is with a person")
        attempts = max(parent.attempts, *(child.attempts for child in children))
        parent = msgspec.structs.replace(parent, attempts=attempts)
        named = ", ".join(affected_agent(child.group) for child in children)
        return self.note(parent, at, "grouped", f"{named} {together}")

    def _open_parent(self, trigger: str, group: Group, children: list[Incident], at: datetime) -> Incident:
        rising = self._spec.trigger(trigger).rising
        values = sorted(child.value for child in children if child.value is not None)
        verdict = Verdict(
            trigger=trigger,
            group=group,
            at=at,
            state=SeriesState.FIRING,
            reason=Reason.CONDITION_MET,
            samples=len(children),
            value=None if not values else values[-1 if rising else 0],
            threshold=children[0].threshold,
            baseline=children[0].baseline,
            spec_version=self._spec.version,
        )
        return self._open(verdict)

    # -- a spec that changed since these incidents were opened

    def follow_spec(self, at: datetime) -> None:
        """Make what is open agree with the loaded spec, and the series with what is open; call once after loading.

        An incident whose trigger is gone, switched off or groups otherwise is closed: nothing watches its series any
        more. Others go on by the spec under which they were opened; where that cannot be, one that waits gets the plan
        that its trigger has now. A series that fires without an incident (its own
        was closed while the trigger was gone) starts anew, and fires again where its condition is met; one that was
        muted at the last instant opens nothing until it no longer is.
        """
        for id in list(self.open):
            incident = self.open.get(id)
            if incident is None:
                continue  # its parent was closed
            if not self.watched(incident):
                text = f"trigger {incident.trigger} is no longer declared, is switched off, or groups otherwise"
                self.close(incident, at, CloseReason.DISMISSED, text, by="the spec")
            elif incident.state is IncidentState.OPEN and self._spec_of(incident) is self._spec:
                trigger = self._spec.trigger(incident.trigger)
                if incident.plan != trigger.actions:
                    again = replanned(incident, trigger, self._spec.version)
                    self.note(again, at, "replanned", f"the spec says now: {', '.join(again.plan) or 'nothing'}")
        for trigger_name, group in self._series.firing():
            if (trigger_name, group) in self._of:
                continue
            if self._series.muted_by(trigger_name, group, at) is None:
                self._series.reset(trigger_name, group, to_us(at))
            else:
                self._muted.add((trigger_name, group))

    def watched(self, incident: Incident) -> bool:
        """Whether the loaded spec still has the series that an incident is about."""
        trigger = next((each for each in self._spec.triggers if each.name == incident.trigger), None)
        if trigger is None or not trigger.enabled:
            return False
        return incident.is_parent or tuple(key for key, _ in incident.group) == trigger.group_by

    # -- ways out

    def close(
        self,
        incident: Incident,
        at: datetime,
        reason: CloseReason,
        text: str,
        *,
        by: str | None = None,
        accumulator: Accumulator | None = None,
        anew_at: datetime | None = None,
    ) -> Incident:
        """Close an incident: what it has under way ends, its directives are undone, and its series begins anew.

        Only where it is suppressed the series goes on as it is: what fires once it is no longer muted opens one again.

        Args:
            accumulator: what the verification that healed it gathered; the series' window begins with it.
            anew_at: when the series begins anew, where that is not `at`: a person's clock may be ahead of the engine's.

        Raises:
            LifecycleError: it is closed already.
        """
        over = self.put(closed(incident, at, reason, text, by))
        self._end(over, at, f"incident {incident.id} is closed: {reason}")
        self._tell_parent(over, reason, at)
        if incident.is_parent:
            for child in self.children(incident):  # a person's word about all of it
                self.close(child, at, reason, f"with {incident.id}: {text}", by=by, anew_at=anew_at)
        if incident.is_parent or not self.watched(incident):
            return over
        t_us, opened_us = to_us(anew_at or at), to_us(incident.opened_at)
        if reason is not CloseReason.SUPPRESSED:
            self._restart(incident.trigger, incident.group, t_us, accumulator)
            self._series.reset(incident.trigger, incident.group, t_us)
        elif self._fires(incident):
            self._muted.add((incident.trigger, incident.group))
        if reason is CloseReason.DISMISSED:
            # Of a reopened one, all its openings.
            self._series.readmit(incident.trigger, incident.group, to_us(incident.first_opened_at))
        else:
            self._series.leave_out(incident.trigger, incident.group, opened_us, t_us)
        return over

    def _tell_parent(self, child: Incident, reason: CloseReason, at: datetime) -> None:
        parent = None if child.parent is None else self.open.get(child.parent)
        if parent is not None:
            worst = max((reason, parent.worst_ending or reason), key=list(CloseReason).index)
            parent = msgspec.structs.replace(parent, worst_ending=worst)
            self.note(parent, at, "beneath", f"{child.id} of {group_label(child.group)} is closed: {reason}")

    def escalate(self, incident: Incident, at: datetime, why: str) -> Incident:
        """Give an incident to a person, and what is beneath it as well; returns it.

        Raises LifecycleError when it is escalated or closed already.
        """
        up = self.put(escalated(incident, at, why))
        self._end(up, at, f"incident {incident.id} is escalated: {why}")
        for child in self.children(up) if up.is_parent else ():
            if child.state is not IncidentState.ESCALATED:
                self.escalate(child, at, f"with {up.id}: {why}")
        return up

    def acknowledge(self, incident: Incident, at: datetime, by: str, reason: str) -> Incident:
        """Write down that a person has seen it; returns it."""
        seen = msgspec.structs.replace(incident, acknowledged_by=by)
        return self.put(noted(seen, at, "acknowledged", f"{by}: {reason}"))
