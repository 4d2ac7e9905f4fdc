"""The trigger engine: every series of every trigger, judged at an explicit instant.

State is kept in columns, one element a group, for each trigger; evaluating is a handful of array operations a trigger
however many events there were. Only changes of state come out; a verdict is worked out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from self_healing.clock import HOUR_US, from_us
from self_healing.measures import FINE_US, MICRO, NONE_MIN, Ints, Measure, Totals, Windows
from self_healing.model import Group, Reason, SeriesState, Transition, Verdict
from self_healing.spec import Aggregate, Baseline, Spec, Threshold, TriggerSpec
from self_healing.triggers.conditions import Seen, add_running, look
from self_healing.triggers.states import Finding, States, next_timer_us, step

FORGET_US = 25 * HOUR_US
"""A series without samples for so long, and without an incident, is forgotten."""

RUNNING_SIGNAL = "task.duration_s"

Interval = tuple[int, int | None]


class Packed(msgspec.Struct):
    """The stored columns of one trigger; places are those of its groups."""

    measure: str
    state: bytes
    since_us: bytes
    enough_us: bytes
    sampled_us: bytes
    frozen: dict[int, tuple[int, int]]
    left_out: dict[int, list[tuple[int, int | None]]]


class Series:
    """All series of one trigger, in columns.

    Args:
        trigger: the trigger.
    """

    def __init__(self, trigger: TriggerSpec) -> None:
        self.trigger = trigger
        self.measure = Measure.of(trigger)
        self.counts_running = trigger.signal == RUNNING_SIGNAL and trigger.aggregate is Aggregate.MAX
        self.state: States = np.zeros(0, np.uint8)
        self.since_us: Ints = np.zeros(0, np.int64)
        self.enough_us: Ints = np.zeros(0, np.int64)  # when it last had enough samples; 0 is never
        self.sampled_us: Ints = np.zeros(0, np.int64)  # when it last had any sample; 0 is never
        self.frozen: dict[int, tuple[int, int]] = {}  # the baseline's count and amount from when it began to fire
        self.left_out: dict[int, list[Interval]] = {}  # the times of its own incidents
        self.changed = True  # since it was last packed

    def widen(self, groups: int) -> None:
        """Make room for new groups."""
        new = groups - len(self.state)
        if new > 0:
            self.state = np.concatenate([self.state, np.zeros(new, np.uint8)])
            for name in ("since_us", "enough_us", "sampled_us"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(new, np.int64)]))


class TriggerFramework:
    """Judges every series of every trigger at an instant it is given.

    Args:
        spec: the triggers, and the version that verdicts carry.
        windows: where totals come from.
    """

    def __init__(self, spec: Spec, windows: Windows) -> None:
        self.spec = spec
        self._windows = windows
        self._series = {trigger.name: Series(trigger) for trigger in spec.triggers}
        self.evaluations = 0

    # -- the evaluation

    def evaluate(self, t_us: int) -> list[Transition]:
        """Judge everything at `t_us` (microseconds); returns the series that changed their state, in the spec's order."""
        changed: list[Transition] = []
        for series in self._series.values():
            if series.trigger.enabled:
                changed += self._evaluate(series, t_us)
        self.evaluations += 1
        return changed

    def _evaluate(self, series: Series, t_us: int) -> list[Transition]:
        series.widen(len(self._windows.groups(series.measure.group_by)))
        if not len(series.state):
            return []
        seen = self._look(series, t_us)
        has = seen.samples > 0
        series.sampled_us[has] = t_us
        series.enough_us[seen.finding < Finding.TOO_FEW] = t_us
        finding = seen.finding
        if series.trigger.no_data.value == "fire":
            # A group of another trigger that never had a sample here is no series of this one.
            finding = np.where(series.sampled_us > 0, finding, np.uint8(Finding.CLEARED))
        state, since_us = step(series.trigger, series.state, series.since_us, finding, t_us)
        if state is series.state:
            return []
        places = np.flatnonzero(state != series.state).tolist()
        before = series.state
        series.state, series.since_us, series.changed = state, since_us, True
        self._freeze(series, places, t_us)
        return [
            Transition(
                before=SeriesState(int(before[place])),
                after=SeriesState(int(state[place])),
                verdict=self._verdict(series, place, seen, t_us),
            )
            for place in places
        ]

    def _look(self, series: Series, t_us: int) -> Seen:
        trigger, measure = series.trigger, series.measure
        from_us = t_us - trigger.window * MICRO
        totals = self._windows.window(measure, from_us, t_us)
        restarted = self._windows.restarted(trigger.name, from_us, t_us)
        if restarted:
            totals = _replaced(totals, {place: own for place, (_, own) in restarted.items()})
        if series.counts_running:
            oldest = self._windows.oldest_running(measure)
            if restarted:
                oldest = oldest.copy()
                for place, (since_us, _) in restarted.items():
                    oldest[place] = self._windows.oldest_running_since(measure, place, since_us)
            totals = add_running(totals, oldest, t_us)
        before = None
        if isinstance(trigger.condition, Baseline):
            before = self._before(series, trigger.condition, from_us)
        return look(trigger, totals, before)

    # -- baselines

    def _before(self, series: Series, condition: Baseline, until_us: int) -> Totals:
        """The baseline of each group: without the time of its own incidents, and frozen while it fires."""
        from_us = until_us - condition.over * MICRO
        shared = self._windows.baseline(series.measure, from_us, until_us)
        if not series.left_out and not series.frozen:
            return shared
        before = Totals(shared.count.copy(), shared.amount.copy(), shared.maximum, shared.minimum)
        for place, intervals in series.left_out.items():
            for start_us, end_us in intervals:
                self._leave_out(series.measure, before, place, (start_us, end_us), from_us, until_us)
        for place, (count, amount) in series.frozen.items():
            before.count[place], before.amount[place] = count, amount
        return before

    def _leave_out(
        self, measure: Measure, before: Totals, place: int, interval: Interval, from_us: int, until_us: int
    ) -> None:
        start_us = max(interval[0], from_us)
        end_us = until_us if interval[1] is None else min(interval[1] + FINE_US, until_us)
        if start_us < end_us:
            own = self._windows.baseline(measure, start_us, end_us)
            # Never below zero: near its far end a baseline holds whole coarse panes, and an incident a part of one.
            before.count[place] = max(before.count[place] - own.count[place], 0)
            before.amount[place] = max(before.amount[place] - own.amount[place], 0)

    def _freeze(self, series: Series, places: list[int], t_us: int) -> None:
        if not isinstance(series.trigger.condition, Baseline):
            return
        until_us = t_us - series.trigger.window * MICRO
        for place in places:
            active = series.state[place] in (SeriesState.FIRING, SeriesState.RECOVERING)
            if active and place not in series.frozen:
                before = self._before(series, series.trigger.condition, until_us)
                series.frozen[place] = (int(before.count[place]), int(before.amount[place]))
            elif not active:
                series.frozen.pop(place, None)

    def leave_out(self, trigger: str, group: Group, start_us: int, end_us: int | None) -> None:
        """Leave a stretch of time (an incident; open while `end_us` is None) out of a series' baselines."""
        series = self._series[trigger]
        place = self._place(series, group)
        if place is not None:
            kept = [interval for interval in series.left_out.get(place, []) if interval[0] != start_us]
            series.left_out[place] = [*kept, (start_us, end_us)]
            series.changed = True

    def readmit(self, trigger: str, group: Group, start_us: int) -> None:
        """Let the incident that began at `start_us` count in the series' baselines after all."""
        series = self._series[trigger]
        place = self._place(series, group)
        if place is not None:
            series.left_out[place] = [i for i in series.left_out.get(place, []) if i[0] != start_us]
            series.changed = True

    # -- verdicts

    def verdict(self, trigger: str, group: Group, t_us: int) -> Verdict:
        """What the trigger says of one series at `t_us`, with its one reason. Raises KeyError for an unknown trigger."""
        series = self._series[trigger]
        place = self._place(series, group)
        if place is None or place >= len(series.state):
            reason = Reason.NO_DATA if series.trigger.enabled else Reason.DISABLED
            return Verdict(
                trigger=trigger,
                group=group,
                at=from_us(t_us),
                state=SeriesState.INACTIVE,
                reason=reason,
                samples=0,
                value=None,
                threshold=_fixed(series.trigger),
                spec_version=self.spec.version,
            )
        series.widen(len(self._windows.groups(series.measure.group_by)))
        return self._verdict(series, place, self._look(series, t_us), t_us)

    def verdicts(self, t_us: int) -> list[Verdict]:
        """What every trigger says of each of its series at `t_us`, forgotten ones left out."""
        found: list[Verdict] = []
        for series in self._series.values():
            series.widen(len(self._windows.groups(series.measure.group_by)))
            if not len(series.state):
                continue
            seen = self._look(series, t_us)
            known = (series.sampled_us > t_us - FORGET_US) | (series.state != SeriesState.INACTIVE) | (seen.samples > 0)
            found += [self._verdict(series, place, seen, t_us) for place in np.flatnonzero(known).tolist()]
        return found

    def _verdict(self, series: Series, place: int, seen: Seen, t_us: int) -> Verdict:
        since_us = int(series.since_us[place])
        return Verdict(
            trigger=series.trigger.name,
            group=self._windows.groups(series.measure.group_by)[place],
            at=from_us(t_us),
            state=SeriesState(int(series.state[place])),
            reason=_reason(series.trigger, int(series.state[place]), int(seen.finding[place])),
            samples=int(seen.samples[place]),
            value=_known(seen.value[place]),
            threshold=_known(seen.threshold[place]),
            baseline=_known(seen.baseline[place]),
            since=from_us(since_us) if since_us else None,
            spec_version=self.spec.version,
        )

    # -- what the incidents need

    def firing(self) -> list[tuple[str, Group]]:
        """The series that fire now."""
        return [
            (name, self._windows.groups(series.measure.group_by)[place])
            for name, series in self._series.items()
            if series.trigger.enabled
            for place in np.flatnonzero(series.state == SeriesState.FIRING).tolist()
        ]

    def state_of(self, trigger: str, group: Group) -> SeriesState:
        """The state of one series."""
        series = self._series.get(trigger)
        place = None if series is None else self._place(series, group)
        if series is None or place is None or place >= len(series.state):
            return SeriesState.INACTIVE
        return SeriesState(int(series.state[place]))

    def enough_at_us(self, trigger: str, group: Group) -> int:
        """When the series last had enough samples, microseconds; 0 when it never had."""
        series = self._series.get(trigger)
        place = None if series is None else self._place(series, group)
        return 0 if series is None or place is None or place >= len(series.state) else int(series.enough_us[place])

    def reset(self, trigger: str, group: Group, t_us: int) -> None:
        """Set a series inactive, as the close of its incident does."""
        series = self._series.get(trigger)
        place = None if series is None else self._place(series, group)
        if series is not None and place is not None and place < len(series.state):
            series.state[place], series.since_us[place] = SeriesState.INACTIVE, t_us
            series.frozen.pop(place, None)
            series.changed = True

    def next_due_us(self, t_us: int, grid_us: int) -> int | None:
        """The next grid instant after `t_us` at which a verdict can change without another event; None when none can."""
        due: list[int] = []
        for series in self._series.values():
            if not series.trigger.enabled or not len(series.state):
                continue
            timer = next_timer_us(series.trigger, series.state, series.since_us)
            if timer is not None:
                due.append(timer)
            if (series.state != SeriesState.INACTIVE).any() or self._has_data(series, t_us):
                due.append((t_us // FINE_US + 1) * FINE_US)
            crossing = self._crossing_us(series, t_us)
            if crossing is not None:
                due.append(crossing)
        if not due:
            return None
        return max(-(-min(due) // grid_us) * grid_us, t_us + grid_us)

    def _has_data(self, series: Series, t_us: int) -> bool:
        totals = self._windows.window(series.measure, t_us - series.trigger.window * MICRO, t_us)
        return bool(totals.count.any())

    def _crossing_us(self, series: Series, t_us: int) -> int | None:
        """When the oldest running task of some quiet series reaches the threshold by its age."""
        condition = series.trigger.condition
        if not series.counts_running or not isinstance(condition, Threshold):
            return None
        crossings = self._windows.oldest_running(series.measure)
        crossings = crossings[crossings != NONE_MIN] + round(condition.value * MICRO)
        later = crossings[crossings > t_us]
        return int(later.min()) if len(later) else None

    def _place(self, series: Series, group: Group) -> int | None:
        return self._windows.place(series.measure.group_by, group)

    # -- state

    def pack(self, *, everything: bool) -> dict[str, Packed]:
        """The columns of the triggers with a changed state; of all of them when `everything` is asked for.

        What changes with every sample (when a series last had some) may lag behind in the state: days are measured by it.
        """
        packed = {}
        for name, series in self._series.items():
            if series.changed or everything:
                series.changed = False
                packed[name] = Packed(
                    series.measure.key,
                    series.state.tobytes(),
                    series.since_us.tobytes(),
                    series.enough_us.tobytes(),
                    series.sampled_us.tobytes(),
                    series.frozen,
                    series.left_out,
                )
        return packed

    def restore(self, trigger: str, packed: Packed) -> None:
        """Put back what :meth:`pack` gave; a trigger that is gone, or measures something else now, begins anew."""
        series = self._series.get(trigger)
        if series is None or series.measure.key != packed.measure:
            return
        series.state = np.frombuffer(packed.state, np.uint8).copy()
        for name in ("since_us", "enough_us", "sampled_us"):
            setattr(series, name, np.frombuffer(getattr(packed, name), np.int64).copy())
        series.frozen, series.left_out = packed.frozen, packed.left_out

    @property
    def names(self) -> Iterable[str]:
        """The triggers' names, in the spec's order."""
        return self._series


def _replaced(totals: Totals, own: dict[int, Totals]) -> Totals:
    mixed = Totals(totals.count.copy(), totals.amount.copy(), totals.maximum.copy(), totals.minimum.copy())
    for place, single in own.items():
        mixed.count[place], mixed.amount[place] = single.count[0], single.amount[0]
        mixed.maximum[place], mixed.minimum[place] = single.maximum[0], single.minimum[0]
    return mixed


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _fixed(trigger: TriggerSpec) -> float | None:
    return trigger.condition.value if isinstance(trigger.condition, Threshold) else None


_QUIET = {
    Finding.TOO_FEW: Reason.TOO_FEW_SAMPLES,
    Finding.NO_DATA: Reason.NO_DATA,
    Finding.NO_BASELINE: Reason.NO_BASELINE,
}


def _reason(trigger: TriggerSpec, state: int, finding: int) -> Reason:
    """The one reason of a verdict."""
    if not trigger.enabled:
        return Reason.DISABLED
    if finding in _QUIET:
        return _QUIET[Finding(finding)]
    match SeriesState(state):
        case SeriesState.PENDING:
            return Reason.PENDING
        case SeriesState.RECOVERING:
            return Reason.RECOVERING
        case SeriesState.FIRING:
            return Reason.CONDITION_MET if finding == Finding.MET else Reason.NOT_CLEARED
        case SeriesState.INACTIVE:
            return Reason.BELOW_THRESHOLD
