"""The trigger engine: every series of every trigger, judged at an explicit instant.

State is kept in columns, one element a group, for each trigger; evaluating is a handful of array operations a trigger
however many events there were. Only changes of state come out; a verdict is worked out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Set
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from self_healing.clock import SECOND_US
from self_healing.measures import Bools, Grouped, Ints, Windows
from self_healing.model import Group, Muted, SeriesState, Transition, Verdict
from self_healing.spec import Spec
from self_healing.triggers.conditions import Seen, find, look
from self_healing.triggers.due import Due
from self_healing.triggers.figures import in_order
from self_healing.triggers.grounds import Grounds, grounds
from self_healing.triggers.inhibiting import Inhibiting
from self_healing.triggers.looking import Looking
from self_healing.triggers.series import FORGET_US, Gathered, Packed, Series, Way
from self_healing.triggers.states import Finding, States, next_timer_us, step
from self_healing.triggers.verdicts import MutedBy, figure, unseen, verdicts

_CLEARED, _NO_BASELINE = np.uint8(Finding.CLEARED), np.uint8(Finding.NO_BASELINE)
_WELL = frozenset((int(Finding.CLEARED), int(Finding.BETWEEN)))

__all__ = ["FORGET_US", "Packed", "TriggerFramework"]


def nobody_muted(_trigger: str, _group: Group, _at: datetime) -> Muted | None:
    """No silence at all."""
    return None


@dataclass(slots=True)
class Changed:
    """The series of a trigger that changed their state at an instant.

    Args:
        before: the states of all of them until then.
        places: those that changed.
        found: what was looked at.
    """

    series: Series
    before: States
    places: Ints
    found: Gathered


class TriggerFramework:
    """Judges every series of every trigger at an instant it is given.

    Args:
        spec: the triggers, and the version that verdicts carry.
        windows: where totals come from.
        muted: what from outside mutes a series at an instant, such as a person's silence. Its states change all the
            same, and only the reason of its verdicts says so.
    """

    def __init__(self, spec: Spec, windows: Windows, muted: MutedBy = nobody_muted) -> None:
        self.spec = spec
        self._muted = muted
        self._windows = windows
        self._series = {trigger.name: Series(trigger) for trigger in in_order(spec)}
        self._looking = Looking(windows, self._series)
        self._due = Due(windows, self._looking)
        self._inhibiting = Inhibiting(self._series, windows)
        self._timers: dict[str, tuple[States, int | None]] = {}  # the states of each, and their first timer
        self._unjudged = False  # whether what asks for silence was left out for want of reading on
        self._reset = False  # whether a series was set inactive since others looked at it
        self.evaluations = 0

    # -- the evaluation

    def evaluate(self, t_us: int, *, caught_up: bool = True, only: Collection[str] | None = None) -> list[Transition]:
        """Judge everything at `t_us`; returns the series that changed state, in the spec's order, composites last.

        Args:
            t_us: microseconds.
            caught_up: whether everything up to then was read; else nobody can be said to be silent.
            only: the triggers to which anything can happen then, where that is known, with a composite all it looks at.
        """
        enabled = [series for series in self._series.values() if series.trigger.enabled]
        if only is not None:
            enabled = [series for series in enabled if series.trigger.name in only]
        judged = [series for series in enabled if caught_up or series.absence is None]
        self._unjudged, self._reset = len(judged) < len(enabled), False
        changed = [self._step(series, t_us) for series in judged]
        self.evaluations += 1
        # Only now: what a series is inhibited by may come behind it in the spec.
        return [transition for each in changed if each is not None for transition in self._transitions(each, t_us)]

    def _step(self, series: Series, t_us: int) -> Changed | None:
        """Go on to the states at `t_us`; None where nothing changed."""
        self._looking.widen(series)
        if not len(series):
            return None
        found = self._looking.gather(series, t_us)
        finding = find(series.trigger, found.totals, found.before)
        sampled = found.totals.count > 0
        enough = found.totals.count >= series.needed
        if found.before is not None:
            enough &= finding != _NO_BASELINE
        if series.absence is not None:  # its only sample is that it is heard of
            sampled = enough = finding == _CLEARED
        self._looking.hear(series, sampled, t_us)
        series.saw(sampled, enough, t_us, t_us - self.spec.grid * SECOND_US)
        if series.must_have_spoken:
            finding = np.where(series.spoken, finding, _CLEARED)
        finding = series.untold(finding, t_us)
        before = series.state
        state, since_us = step(series.trigger, before, series.since_us, series.flapping, finding, t_us)
        if state is before:
            return None
        places = series.become(state, since_us, t_us)
        if found.before is not None and series.baseline is not None:
            series.freeze(found.before)
        return Changed(series, before, places, found) if len(places) else None

    def _transitions(self, changed: Changed, t_us: int) -> Iterator[Transition]:
        verdicts = self._verdicts(changed.series, changed.places, changed.found, t_us)
        for place, verdict in zip(changed.places.tolist(), verdicts, strict=True):
            yield Transition(before=SeriesState(int(changed.before[place])), after=verdict.state, verdict=verdict)

    # -- verdicts

    def verdict(self, trigger: str, group: Group, t_us: int) -> Verdict:
        """What the trigger says of one series at `t_us`, with its one reason. Raises KeyError for no such trigger."""
        series = self._series[trigger]
        self._looking.widen(series)
        place = self._windows.place(series.measure.grouped, group)
        if place is None:
            return unseen(series.trigger, group, t_us, self.spec.version)
        return next(self._verdicts(series, np.array([place]), self._looking.gather(series, t_us), t_us))

    def verdicts(self, t_us: int) -> list[Verdict]:
        """What every trigger says of each of its series at `t_us`, forgotten ones left out."""
        return [verdict for name in self._series for verdict in self.verdicts_of(name, t_us)]

    def verdicts_of(self, trigger: str, t_us: int) -> list[Verdict]:
        """What one trigger says of each of its series at `t_us`. Raises KeyError for no such trigger."""
        series = self._series[trigger]
        self._looking.widen(series)
        if not len(series):
            return []
        found = self._looking.gather(series, t_us)
        known = np.flatnonzero(series.known() | (found.totals.count > 0))
        return list(self._verdicts(series, known, found, t_us))

    def grounds(self, trigger: str, group: Group, t_us: int) -> Grounds:
        """What the verdict on a series at `t_us` stands on beside its figures; nothing where nobody knows its group."""
        found = self._find(trigger, group)
        if found is None:
            return Grounds()
        members = {name: self.state_of(name, group) for name in found[0].members}
        return grounds(*found, self._looking.gather(found[0], t_us), t_us, members=members)

    def _verdicts(self, series: Series, places: Ints, found: Gathered, t_us: int) -> Iterator[Verdict]:
        groups, version = self._windows.groups(series.measure.grouped), self.spec.version
        return verdicts(series, places, found, t_us, groups=groups, muted_by=self.muted_by, spec_version=version)

    # -- what mutes

    def muted_by(self, trigger: str, group: Group, at: datetime) -> Muted | None:
        """What keeps a series from opening an incident at the newest evaluated instant; None when nothing does."""
        return self._muted(trigger, group, at) or self._inhibiting.by(trigger, group)

    def overflowing(self, trigger: str, group: Group) -> list[str]:
        """The triggers that would inhibit a series if what fires in their overflow is its group, which nobody knows."""
        return self._inhibiting.overflowing(trigger, group)

    # -- what the incidents need

    def met(self, trigger: str, group: Group, t_us: int) -> float | None:
        """The value of a series while its condition is met on enough samples; None while it is not."""
        looked = self._looked(trigger, group, t_us)
        if looked is None or looked[0].finding[looked[1]] != Finding.MET:
            return None
        return figure(float(looked[0].value[looked[1]]))

    def met_at(self, t_us: int) -> Callable[[str, Group], float | None]:
        """The same of any series at one instant, worked out once for all series of a trigger.

        Not so of what looks at other triggers or at silence: that may change with the close of an incident.
        """
        known: dict[str, dict[Group, float | None]] = {}

        def met(trigger: str, group: Group) -> float | None:
            series = self._series.get(trigger)
            if series is None or series.members or series.absence is not None:
                return self.met(trigger, group, t_us)
            if trigger not in known:
                known[trigger] = self._all_met(series, t_us)
            return known[trigger].get(group)

        return met

    def _all_met(self, series: Series, t_us: int) -> dict[Group, float | None]:
        groups = self._windows.groups(series.measure.grouped)
        looked = self._looked(series.trigger.name, groups[0], t_us) if len(series) else None
        if looked is None:
            return {}
        seen = looked[0]
        places = np.flatnonzero(seen.finding[: len(series)] == Finding.MET).tolist()
        return {groups[place]: figure(value) for place, value in zip(places, seen.value[places].tolist(), strict=True)}

    def well(self, trigger: str, group: Group, t_us: int) -> bool:
        """Whether a series has enough samples, and its condition is not met."""
        looked = self._looked(trigger, group, t_us)
        return looked is not None and int(looked[0].finding[looked[1]]) in _WELL

    def _looked(self, trigger: str, group: Group, t_us: int) -> tuple[Seen, int] | None:
        """What all series of a trigger show at `t_us`, worked out once for however many incidents, and one's place."""
        found = self._find(trigger, group)
        if found is None:
            return None
        series, place = found
        gathered = self._looking.gather(series, t_us)
        if gathered.seen is None:
            gathered.seen = look(series.trigger, gathered.totals, gathered.before)
            if series.must_have_spoken:
                gathered.seen.finding[~series.spoken] = _CLEARED
            gathered.seen.finding = series.untold(gathered.seen.finding, t_us)
        return gathered.seen, place

    def silent(self, grouped: Grouped) -> Bools:
        """The groups of a grouping of which no series is known any more, as of the last evaluation."""
        known = np.zeros(len(self._windows.groups(grouped)), np.bool_)
        for series in self._series.values():
            if series.measure.grouped == grouped and series.trigger.enabled:
                known[len(series) :] = True  # it was never judged yet
                known[: len(series)] |= series.known()
        return ~known

    def forget(self, grouped: Grouped, places: Ints) -> None:
        """Forget what is remembered of the groups in these places: others come there."""
        for series in self._series.values():
            if series.measure.grouped == grouped:
                series.forget(places[places < len(series)])

    def counts(self) -> dict[str, int]:
        """How many series are in each state, and how many of all are flapping."""
        states = np.zeros(len(SeriesState), np.int64)
        flapping = 0
        for series in self._series.values():
            if series.trigger.enabled:
                states += np.bincount(series.state, minlength=len(SeriesState))
                flapping += int(np.count_nonzero(series.flapping))
        return {state.name.lower(): int(states[state]) for state in SeriesState} | {"flapping": flapping}

    def firing(self) -> list[tuple[str, Group]]:
        """The series that fire now."""
        return [
            (name, self._windows.groups(series.measure.grouped)[place])
            for name, series in self._series.items()
            if series.trigger.enabled
            for place in np.flatnonzero(series.state == SeriesState.FIRING).tolist()
        ]

    def state_of(self, trigger: str, group: Group) -> SeriesState:
        """The state of one series; inactive when nobody knows it."""
        found = self._find(trigger, group)
        return SeriesState.INACTIVE if found is None else found[0].state_of(found[1])

    def stirring(self, trigger: str) -> Set[Group]:
        """The groups of which a trigger's series is not inactive now."""
        series = self._series.get(trigger)
        if series is None:
            return frozenset()
        groups = self._windows.groups(series.measure.grouped)
        return {groups[place] for place in np.flatnonzero(series.state != SeriesState.INACTIVE).tolist()}

    def enough_at_us(self, trigger: str, group: Group) -> int:
        """When the series last had enough samples, microseconds; 0 when it never had."""
        found = self._find(trigger, group)
        return 0 if found is None else found[0].enough_at_us(found[1])

    def reset(self, trigger: str, group: Group, t_us: int) -> None:
        """Set a series inactive, as the close of its incident does; tasks that run now no longer count by their age."""
        found = self._find(trigger, group)
        if found is not None:
            found[0].begin_anew(found[1], t_us)
            self._reset = True

    def leave_out(self, trigger: str, group: Group, start_us: int, end_us: int | None) -> None:
        """Leave a stretch of time (an incident; open while `end_us` is None) out of a series' baselines."""
        found = self._find(trigger, group)
        if found is not None:
            found[0].leave_out(found[1], start_us, end_us)

    def readmit(self, trigger: str, group: Group, start_us: int) -> None:
        """Let the incidents that began at `start_us` or later count in the series' baselines after all."""
        found = self._find(trigger, group)
        if found is not None:
            found[0].readmit(found[1], start_us)

    def _find(self, trigger: str, group: Group) -> tuple[Series, int] | None:
        """A series and its place; None for a trigger that is gone and for a group that was never seen."""
        series = self._series.get(trigger)
        place = None if series is None else self._windows.place(series.measure.grouped, group)
        return None if series is None or place is None or place >= len(series) else (series, place)

    # -- time

    def next_due_us(self, t_us: int, grid_us: int) -> int | None:
        """The next grid instant after `t_us` at which a verdict can change without an event; None when none can."""
        timer_us = self.next_timer_us(t_us, grid_us)
        due = [] if timer_us is None else [timer_us]
        for series in self._series.values():
            if series.trigger.enabled and len(series):
                due += self._due.after(series, t_us)
        lost_us = self._windows.next_lost_us()
        due += [] if lost_us is None else [lost_us]
        return max(-(-min(due) // grid_us) * grid_us, (t_us // grid_us + 1) * grid_us) if due else None

    def next_timer_us(self, t_us: int, grid_us: int) -> int | None:
        """The next grid instant after `t_us` at which a verdict can change though all it looks at stays the same."""
        next_us = (t_us // grid_us + 1) * grid_us
        due = [*([] if self.settled else [next_us]), *self.timers_us(t_us).values()]
        return max(-(-min(due) // grid_us) * grid_us, next_us) if due else None

    @property
    def settled(self) -> bool:
        """Whether all states are those of the last evaluation, by this spec, as far as triggers look at others."""
        return bool(self.evaluations) and not (self._reset and any(each.members for each in self._series.values()))

    def timers_us(self, t_us: int) -> dict[str, int]:
        """When a timer of a series runs out next after `t_us`, microseconds, by trigger; of the others nothing."""
        found = {}
        for name, series in self._series.items():
            if series.trigger.enabled and len(series):
                due = [each for each in (self._timer_us(series, t_us), series.next_whole_us(t_us)) if each is not None]
                if due:
                    found[name] = min(due)
        return found

    def _timer_us(self, series: Series, t_us: int) -> int | None:
        """When the first timer of a trigger runs out; worked out once, until a state changes or it has run out."""
        state, timer_us = self._timers.get(series.trigger.name, (None, None))
        if state is not series.state or (timer_us is not None and timer_us <= t_us):
            timer_us = next_timer_us(series.trigger, series.state, series.since_us, series.flapping, t_us)
            self._timers[series.trigger.name] = series.state, timer_us
        return timer_us

    @property
    def unjudged(self) -> bool:
        """Whether the last evaluation left out what asks for silence."""
        return self._unjudged

    # -- state

    def pack(self, *, everything: bool) -> dict[str, Packed]:
        """The columns of the triggers with a changed state; of all of them when `everything` is asked for.

        What changes with every sample (when a series last had some) may lag behind in the state: it measures days.
        """
        packed = {}
        for name, series in self._series.items():
            if series.changed or everything:
                series.changed = False
                packed[name] = series.pack()
        return packed

    def restore(self, trigger: str, packed: Packed, way: Way | None = None) -> None:
        """Put back what :meth:`pack` gave; a trigger that is gone, or measures something else now, begins anew.

        Args:
            trigger: its name.
            packed: its columns.
            way: where its groups stand now, if its limit has changed.
        """
        series = self._series.get(trigger)
        if series is not None:
            series.restore(packed, way)

    def watch(self, from_us: Callable[[str], int]) -> None:
        """Remember from when on all that each trigger looks at was watched; call once after restoring them."""
        for name, series in self._series.items():
            self._looking.watch(series, from_us(name))

    def reaching_behind(self, t_us: int) -> list[tuple[str, Group]]:
        """The inactive series whose windows reach back behind their last close at `t_us`: they are longer than then."""
        return [
            (name, self._windows.groups(series.measure.grouped)[place])
            for name, series in self._series.items()
            for place in self._looking.reaching_behind(series, t_us)
        ]

    @property
    def series(self) -> Iterable[Series]:
        """The series of each trigger, in the order in which they are judged."""
        return self._series.values()

    @property
    def names(self) -> Iterable[str]:
        """The triggers' names, in the spec's order."""
        return self._series
