"""The register: the incidents that are not closed, and the only way in which any of them changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from self_healing.clock import to_us
from self_healing.incidents.lifecycle import (
    NO_DATA_AFTER,
    closed,
    escalated,
    noted,
    opened,
    peaked,
    reopenable,
    reopened,
)
from self_healing.model import CloseReason, Group, Incident, IncidentState, SeriesState, Transition
from self_healing.spec import Spec
from self_healing.storage.store import Store
from self_healing.taps import Accumulator


class SeriesPort(Protocol):
    """What the register needs of the trigger engine."""

    def leave_out(self, trigger: str, group: Group, start_us: int, end_us: int | None) -> None:
        """Leave a stretch of time out of the series' baselines."""
        ...

    def readmit(self, trigger: str, group: Group, start_us: int) -> None:
        """Let it count after all."""
        ...

    def reset(self, trigger: str, group: Group, t_us: int) -> None:
        """Set the series inactive."""
        ...

    def state_of(self, trigger: str, group: Group) -> SeriesState:
        """The state of the series."""
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
        undo: undoes what an incident has in force.
        spec: the loaded spec.
        told: hears of every incident that changed its state.
    """

    def __init__(
        self,
        store: Store,
        series: SeriesPort,
        *,
        restart: Callable[[str, Group, int, Accumulator | None], None],
        undo: Callable[[str, datetime, str], object],
        spec: Callable[[], Spec],
        told: Callable[[Incident], None],
    ) -> None:
        self._store = store
        self._series = series
        self._restart = restart
        self._undo = undo
        self._spec = spec
        self._told = told
        states = [state.value for state in IncidentState if state is not IncidentState.CLOSED]
        self.open = {incident.id: incident for incident in store.select(Incident, state=states)}

    def of(self, trigger: str, group: Group) -> Incident | None:
        """The incident of a series that is not closed, if there is one."""
        return next((i for i in self.open.values() if i.trigger == trigger and i.group == group), None)

    def put(self, incident: Incident) -> Incident:
        """Store an incident as it is now; returns it."""
        before = self.open.get(incident.id)
        self._store.put(incident)
        if incident.state is IncidentState.CLOSED:
            self.open.pop(incident.id, None)
        else:
            self.open[incident.id] = incident
        if before is None or before.state is not incident.state or len(before.notes) != len(incident.notes):
            self._told(incident)
        return incident

    def note(self, incident: Incident, at: datetime, what: str, text: str) -> Incident:
        """Add a line to an incident's timeline; returns it."""
        return self.put(noted(incident, at, what, text))

    # -- what triggers say

    def take(self, transition: Transition) -> None:
        """Follow one series' change of state: open, reopen, or let go of what was never acted on."""
        verdict = transition.verdict
        incident = self.of(verdict.trigger, verdict.group)
        if transition.after is SeriesState.FIRING and incident is None:
            self._open(transition)
        elif transition.after is SeriesState.INACTIVE and incident is not None:
            self._let_go(incident, verdict.at)

    def _open(self, transition: Transition) -> None:
        verdict = transition.verdict
        trigger = self._spec().trigger(verdict.trigger)
        past = [i for i in self._store.select(Incident, trigger=trigger.name, state="closed") if i.group == verdict.group]
        last = max(past, key=lambda incident: incident.closed_at or incident.opened_at, default=None)
        if last is not None and reopenable(last, verdict.at):
            incident = reopened(last, trigger, verdict)
        else:
            incident = opened(trigger, verdict)
        self.put(incident)
        self._series.leave_out(incident.trigger, incident.group, to_us(incident.opened_at), None)

    def _let_go(self, incident: Incident, at: datetime) -> None:
        if incident.state is IncidentState.OPEN:
            self.close(incident, at, CloseReason.RECOVERED, "the series went inactive and nothing was under way")
        elif incident.state is IncidentState.ESCALATED:
            self.close(incident, at, CloseReason.RECOVERED, "the series went inactive after the escalation")

    def tend(self, at: datetime) -> None:
        """What needs no event: peaks are kept elsewhere; here are silence for a day, and escalated ones that are well."""
        for incident in list(self.open.values()):
            enough_us = self._series.enough_at_us(incident.trigger, incident.group)
            silent_us = to_us(at) - max(enough_us, to_us(incident.opened_at))
            if timedelta(microseconds=silent_us) >= NO_DATA_AFTER:
                self.close(incident, at, CloseReason.NO_DATA, "24 h without enough samples")
                continue
            inactive = self._series.state_of(incident.trigger, incident.group) is SeriesState.INACTIVE
            if inactive and incident.state in (IncidentState.OPEN, IncidentState.ESCALATED):
                since = incident.escalated_at or incident.opened_at
                if enough_us >= to_us(since):
                    self._let_go(incident, at)

    def peak(self, incident: Incident, value: float | None) -> Incident:
        """Remember the worst value before the effect; returns the incident."""
        higher = peaked(incident, value, rising=self._spec().trigger(incident.trigger).rising)
        if higher is not incident:
            self._store.put(higher)
            self.open[incident.id] = higher
        return higher

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
    ) -> Incident:
        """Close an incident: its directives are undone, and its series begins anew.

        Args:
            accumulator: what the verification that healed it gathered; the series' window begins with it.

        Raises:
            LifecycleError: it is closed already.
        """
        over = self.put(closed(incident, at, reason, text, by))
        self._undo(incident.id, at, f"incident {incident.id} is closed: {reason}")
        t_us, opened_us = to_us(at), to_us(incident.opened_at)
        self._restart(incident.trigger, incident.group, t_us, accumulator)
        self._series.reset(incident.trigger, incident.group, t_us)
        if reason is CloseReason.DISMISSED:
            self._series.readmit(incident.trigger, incident.group, opened_us)
        else:
            self._series.leave_out(incident.trigger, incident.group, opened_us, t_us)
        return over

    def escalate(self, incident: Incident, at: datetime, why: str) -> Incident:
        """Give an incident to a person; returns it. Raises LifecycleError when it is escalated or closed already."""
        return self.put(escalated(incident, at, why))

    def acknowledge(self, incident: Incident, at: datetime, by: str, reason: str) -> Incident:
        """Write down that a person has seen it; returns it."""
        seen = msgspec.structs.replace(incident, acknowledged_by=by)
        return self.put(noted(seen, at, "acknowledged", f"{by}: {reason}"))
