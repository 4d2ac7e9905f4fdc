"""Muting from outside the engine, whoever's word it is, as one answer: what keeps a series from opening an incident."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from self_healing.incidents.maintenance import covers, in_force, next_change
from self_healing.model import Group, Muted, Reason, Silence
from self_healing.spec import Composite, Maintenance, Spec, TriggerSpec

START = "start"
"""What mutes while it warms up."""

UNWATCHED = "window"
"""What mutes while it was not watched in full."""

Silenced = Callable[[str, Group, datetime], Silence | None]


def nobody_silenced(_trigger: str, _group: Group, _at: datetime) -> Silence | None:
    """No silence at all."""
    return None


Unwatched = Callable[[str, Group | None, datetime], datetime | None]


def all_watched(_trigger: str, _group: Group | None, _at: datetime) -> datetime | None:
    """No window that was not watched in full."""
    return None


class Muting:
    """What mutes a series at an instant.

    Args:
        spec: has the maintenance windows, and how long it warms up.
        silenced: the silence that mutes a series at an instant.
        started_at: when the service started that evaluates; None where silence is not our own: in a check, a backtest.
        unwatched: until when a series looks back to before its samples were taken in and kept, None where not; of
            whatever group when that is None.
    """

    def __init__(
        self,
        spec: Spec,
        silenced: Silenced = nobody_silenced,
        *,
        started_at: datetime | None = None,
        unwatched: Unwatched = all_watched,
    ) -> None:
        self._spec = spec
        self._silenced = silenced
        self._unwatched = unwatched
        self._warm_at = None if started_at is None else started_at + timedelta(seconds=spec.warm_up)
        self._in_force: tuple[datetime | None, list[tuple[Maintenance, datetime]]] = None, []

    def by(self, trigger: str, group: Group, at: datetime) -> Muted | None:
        """What mutes a series at an instant; None when nothing does."""
        silence = self._silenced(trigger, group, at)
        if silence is not None:
            return _by_silence(silence)
        # Asked of all that is open at every instant, and mostly there is neither.
        muted = self._by_maintenance(trigger, group, at) if self._spec.maintenance else None
        return self._by_start(trigger, group, at) if muted is None and trigger in self._spec.warming else muted

    def _by_maintenance(self, trigger: str, group: Group, at: datetime) -> Muted | None:
        for window, until in self._windows(at):
            if covers(window, trigger, group):
                text = window.reason or "maintenance"
                return Muted(why=Reason.MAINTENANCE, what=window.name, by="the spec", until=until, text=text)
        return None

    def _windows(self, at: datetime) -> list[tuple[Maintenance, datetime]]:
        """The windows in force at an instant, worked out once for however many series."""
        if self._in_force[0] != at:
            untils = [(window, in_force(window, at)) for window in self._spec.maintenance]
            self._in_force = at, [(window, until) for window, until in untils if until is not None]
        return self._in_force[1]

    def _by_start(self, trigger: str, group: Group | None, at: datetime) -> Muted | None:
        """That a series warms up; of any group when that is None."""
        warm_at = None if self._warm_at is None else self._warm_at + self._recovers(trigger)
        if warm_at is None or at >= warm_at:
            return self._by_window(trigger, group, at)
        text = "what was silent may only have been unheard"
        return Muted(why=Reason.WARMING_UP, what=START, by="the spec", until=warm_at, text=text)

    def _by_window(self, trigger: str, group: Group | None, at: datetime) -> Muted | None:
        members, recovers = self._members(trigger), self._recovers(trigger)
        names, whose = ([each.name for each in members], None) if members else ([trigger], group)
        untils = (self._unwatched(name, whose, at - recovers) for name in names)
        until = max((each + recovers for each in untils if each is not None), default=None)
        if until is None:
            return None
        text = "it looks back to before all of that was taken in, so what is missing may have been there"
        return Muted(why=Reason.WARMING_UP, what=UNWATCHED, by="the spec", until=until, text=text)

    def _members(self, trigger: str) -> list[TriggerSpec]:
        """The triggers by which a composite warms up; none of any other trigger."""
        condition = self._spec.trigger(trigger).condition
        names = condition.members if isinstance(condition, Composite) else ()
        return [self._spec.trigger(name) for name in names if name in self._spec.warming]

    def _recovers(self, trigger: str) -> timedelta:
        """For how long a composite is muted beyond its triggers: one that is heard at last still recovers then."""
        return timedelta(seconds=max((each.keep_firing_for for each in self._members(trigger)), default=0))

    def next_due(self, at: datetime) -> datetime | None:
        """When a window begins or ends next after `at`, or a trigger is warm, or was watched in full."""
        due = [next_change(window, at) for window in self._spec.maintenance]
        warming = (self._by_start(name, None, at) for name in self._spec.warming)
        return min(
            [*due, *(each.until for each in warming if each is not None and each.until is not None)], default=None
        )


def _by_silence(silence: Silence) -> Muted:
    text = f"{silence.by}: {silence.reason}"
    return Muted(why=Reason.SILENCED, what=silence.id, by=silence.by, until=silence.ends_at, text=text)
