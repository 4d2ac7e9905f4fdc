"""Look-ahead: the instants of a stretch of history at which something can happen to a series at all.

What a series shows changes only where a sample comes, or a pane leaves its window or what lies before that. So it is
worked out at all those instants at once, from flat rows of samples and by the rules by which the engine judges, and of
a series that is inactive only the instants matter at which its condition is met. The engine itself then looks at these
and no others. An instant too many costs a look and changes nothing, so wherever it would take long to be exact, all
instants are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from self_healing.measures import (
    COARSE_US,
    FINE_US,
    MICRO,
    NONE_MIN,
    Bools,
    Ints,
    Totals,
    compare,
    pane_us_of,
    whole,
)
from self_healing.model import Group, SeriesState
from self_healing.sights import Quiet, Seen, Sight, Stretch, distinct, nothing
from self_healing.spec import PERCENT, Aggregate, NoData, Operator, Spec, Threshold
from self_healing.telemetry.replayed import Replayed
from self_healing.telemetry.rows import Flat
from self_healing.triggers.conditions import find, look
from self_healing.triggers.framework import TriggerFramework
from self_healing.triggers.series import NOT_FROZEN, Series
from self_healing.triggers.states import Finding

_MET, _NO_DATA, _NO_BASELINE = (np.uint8(each) for each in (Finding.MET, Finding.NO_DATA, Finding.NO_BASELINE))
_EXTREME = (Aggregate.MAX, Aggregate.MIN)
_SAMPLED, _ENOUGH = 8, 16  # bits beside a finding, which is below both

Peak = Callable[[str, int], float | None]
"""The worst value so far of the open incident of a series, by trigger and place; None where none is open."""


class Sampled(Sight):
    """What is seen ahead of all series of a trigger that judges samples.

    Args:
        series: the trigger's.
        telemetry: what they are judged by.
        peak: of the incidents that are open.
        member: whether a composite looks at it, to which it matters whether it has any sample.
    """

    def __init__(self, series: Series, telemetry: Replayed, peak: Peak, *, member: bool) -> None:
        super().__init__(series)
        self._member = member
        self._telemetry = telemetry
        self._peak = peak
        self._trigger = trigger = series.trigger
        self._flat: Flat = telemetry.flat[series.measure.key]
        condition = trigger.condition
        self._ages = condition if series.counts_running and isinstance(condition, Threshold) else None
        # A quantile lies between the extremes: where those do not meet the condition, it does not.
        self._between = (
            trigger.aggregate in PERCENT
            and isinstance(condition, Threshold)
            and not (series.counts_running or series.must_have_spoken or series.asks_whole)
        )
        # Where a running task is more than one more value to compare, or a quantile is to be told: all such instants.
        self._unseen = trigger.aggregate in PERCENT or (
            series.counts_running
            and (self._ages is None or self._ages.op in (Operator.LT, Operator.LE) or trigger.min_samples > 1)
        )
        self._unseen = self._unseen or (series.counts_running and series.must_have_spoken)

    def _along(self) -> Seen:
        return self._look(slice(None), 0)

    def again(self, group: Group, t_us: int) -> None:
        place = self._telemetry.place(self._series.measure.grouped, group)
        if place is None:
            return
        super().again(group, t_us)
        now = (t_us - self._stretch.from_us) // self._stretch.grid_us
        self._seen = self._seen.without(place).joined(self._look(self._flat.of_group(place), now, place))

    def _look(self, part: slice, now: int, place: int | None = None) -> Seen:
        """What is seen after the instant number `now` in a part of the samples, of all series or of one."""
        places, ts = self._flat.places[part], self._flat.ts[part]
        late = [each for each in self._flat.late if place in (None, each.row[0])]
        whose, when, heard = np.array([(*each.row[:2], each.at_us) for each in late], np.int64).reshape(-1, 3).T
        rows = self._rows(np.concatenate([places, whose]), np.concatenate([ts, when]), now)
        seen = self._judged(rows, now) if len(rows) else nothing()
        if late:  # what they add to is not known beforehand
            irregular = np.isin(seen.places, whose)
            seen.met |= irregular
            seen.turns |= irregular
            seen = seen.joined(self._always(whose, self._stretch.at(heard), now))
        if self._series.counts_running:
            seen = seen.joined(self._by_age(now, place))
        return seen

    # -- by samples

    def _rows(self, places: Ints, ts: Ints, now: int) -> Ints:
        """The instants at which something changes, and of each series the present one before them; as one number each.

        Such a number is that of the series' place times the width of the stretch, and that of the instant.
        """
        stretch, width = self._stretch, self._stretch.width
        recent = np.flatnonzero(ts > stretch.from_us - self._back_us)
        of, when = places[recent], ts[recent]
        groups = int(places.max(initial=-1)) + 1
        present = distinct(places, groups)
        found = [present * width + now]
        for moments in self._moments(when):
            at = stretch.at(moments)
            kept = (at > now) & (at < width)
            found.append(of[kept] * width + at[kept])
        found += [present * width + moved for moved in self._moved(now)]
        return distinct(np.concatenate(found), groups * width)

    @property
    def _back_us(self) -> int:
        """How far back the samples lie that come, go over or leave."""
        window_us = self._series.window_us
        return 2 * window_us + 2 * FINE_US if self._series.changes else window_us + pane_us_of(window_us)

    def _moments(self, ts: Ints) -> Iterator[Ints]:
        """When samples come into the window, or the later of two, and when they leave it."""
        window_us = self._series.window_us
        if self._series.changes:
            entered = (ts // FINE_US + 1) * FINE_US
            yield from (entered, entered + window_us, entered + 2 * window_us)
        else:
            pane_us = pane_us_of(window_us)
            yield from (ts, (ts // pane_us + 1) * pane_us + window_us)

    def _moved(self, now: int) -> Iterator[int]:
        """The instants at which the baseline begins with another pane."""
        if self._series.baseline is None:
            return
        behind_us = self._series.window_us + self._series.baseline.over * MICRO
        first_us = (self._stretch.from_us - behind_us) // COARSE_US * COARSE_US + behind_us
        last_us = int(self._flat.ts.max(initial=0)) + behind_us + COARSE_US  # beyond that nothing is left in it
        moments = np.arange(first_us, min(self._stretch.until_us, last_us) + 1, COARSE_US)
        yield from (at for at in self._stretch.at(moments).tolist() if now < at < self._stretch.width)

    def _judged(self, rows: Ints, now: int) -> Seen:
        """What can happen at those instants."""
        places, at = np.divmod(rows, self._stretch.width)
        later = at > now
        if self._unseen:
            seen = Seen(places, at, later & self._may_meet(places, at), later)
            # Too few samples end what an age meets as well, which is largest right before that.
            return seen.joined(self._always(places, at - 1, now)) if self._series.counts_running else seen
        trigger, series = self._trigger, self._series
        totals, before = self._totals(places, self._stretch.from_us + at * self._stretch.grid_us)
        finding = find(trigger, totals, before)
        sampled, enough = totals.count > 0, totals.count >= series.needed
        if before is not None:
            enough &= finding != _NO_BASELINE
        met = finding == _MET
        if trigger.no_data is NoData.FIRE:
            met |= finding == _NO_DATA
        if series.must_have_spoken or series.asks_whole:  # that it speaks must be seen
            met |= _changes(sampled)
        turns = _changes(finding + sampled * np.uint8(_SAMPLED) + enough * np.uint8(_ENOUGH))
        turns |= self._worse(places, finding == _MET, totals, before)
        return Seen(places, at, met & later, turns & later)

    def _may_meet(self, places: Ints, at: Ints) -> Bools:
        """Whether the condition may be met at those instants."""
        condition = self._trigger.condition
        if not self._between or not isinstance(condition, Threshold):
            return np.ones(len(places), np.bool_)
        totals, _ = self._totals(places, self._stretch.from_us + at * self._stretch.grid_us)
        worst = totals.maximum if self._trigger.rising else totals.minimum
        return compare(worst, condition.op, whole(condition.value * MICRO))

    def _totals(self, places: Ints, t: Ints) -> tuple[Totals, Totals | None]:
        """What the series' windows hold at instants, and what that is compared with."""
        series, between = self._series, self._flat.between
        extremes = self._between or self._trigger.aggregate in _EXTREME
        since_us = self._since_us(places)
        if series.changes:
            end = t // FINE_US * FINE_US
            middle, start = end - series.window_us, end - 2 * series.window_us
            later = between(places, np.maximum(middle, since_us), end, extremes=extremes)
            return later, between(places, np.maximum(start, since_us), middle, extremes=extremes)
        begins = (t - series.window_us) // pane_us_of(series.window_us) * pane_us_of(series.window_us)
        totals = between(places, np.maximum(begins, since_us), t + 1, extremes=extremes)
        if series.baseline is None:
            return totals, None
        first = (t - series.window_us - series.baseline.over * MICRO) // COARSE_US * COARSE_US
        return totals, self._before(places, first, begins)

    def _since_us(self, places: Ints) -> Ints:
        """From when on samples count in the series' windows: from right after its last incident."""
        since_us = np.zeros(int(places.max()) + 1, np.int64)
        for place, restart in self._telemetry.taps.restarts.get(self._trigger.name, {}).items():
            if place < len(since_us):
                since_us[place] = restart.since_us + 1
        return since_us[places]

    def _before(self, places: Ints, first_us: Ints, until_us: Ints) -> Totals:
        """The baselines between those times, without the series' own incidents, and frozen where they are."""
        series = self._series
        before = self._flat.between(places, first_us, until_us)
        for place in series.left_out:
            mine = np.flatnonzero(places == place)
            for start_us, end_us in series.whole_gaps(place) if len(mine) else ():
                start = np.maximum(first_us[mine], start_us)
                own = self._flat.between(places[mine], start, np.minimum(until_us[mine], end_us))
                before.count[mine] -= own.count
                before.amount[mine] -= own.amount
        known = places < len(series)
        held = places[known]
        frozen = series.frozen_count[held] != NOT_FROZEN
        there = np.flatnonzero(known)[frozen]
        before.count[there] = series.frozen_count[held[frozen]]
        before.amount[there] = series.frozen_amount[held[frozen]]
        return before

    def _worse(self, places: Ints, met: Bools, totals: Totals, before: Totals | None) -> Bools:
        """Where the value of a series with an open incident is worse than ever before in it."""
        found = np.zeros(len(places), np.bool_)
        for place in np.flatnonzero(self._series.state == SeriesState.FIRING).tolist():
            peak = self._peak(self._trigger.name, place)
            mine = np.flatnonzero((places == place) & met)
            if peak is not None and len(mine):
                value = look(self._trigger, totals.at(mine), None if before is None else before.at(mine)).value
                merge = np.maximum if self._trigger.rising else np.minimum
                worst = merge.accumulate(np.concatenate([[peak], value]))
                found[mine] = worst[1:] != worst[:-1]
        return found

    # -- by the age of running tasks

    def _by_age(self, now: int, place: int | None) -> Seen:
        """What can happen because of tasks that run, of all series or of one."""
        ran, stretch, grid_us = self._telemetry.ran(self._series.measure), self._stretch, self._stretch.grid_us
        t_us = stretch.from_us + now * grid_us
        here = (ran.until_us > t_us) & (ran.from_us <= stretch.until_us)
        if place is not None:
            here &= ran.places == place
        places, started, told, until = (
            column[here] for column in (ran.places, ran.started_us, ran.from_us, ran.until_us)
        )
        ended = until < NONE_MIN
        ends = stretch.at(np.where(ended, until, stretch.from_us))
        if self._ages is None:
            return nothing()
        beyond = int(self._ages.op in (Operator.GT, Operator.LE))  # those turn just after the value, the others at it
        limits = {self._ages.value, self._ages.value if self._trigger.clear is None else self._trigger.clear}
        limits_us = [int(whole(limit * MICRO)) + beyond for limit in limits]
        seen = nothing()
        for limit_us in limits_us:  # it reaches a limit
            reached = np.maximum(started + limit_us, told)
            runs = reached < until
            seen = seen.joined(self._always(places[runs], stretch.at(reached[runs]), now))
        if self._unseen:
            turns = (stretch.at(told), ends - 1, ends)
            return seen.joined(self._always(np.tile(places, len(turns)), np.concatenate(turns), now))
        # It ends: then what it had reached is gone, and right before it was largest.
        long = ended & (started + min(limits_us) < until)
        for at in (ends[long] - 1, ends[long]):
            seen = seen.joined(self._always(places[long], at, now))
        return seen.joined(self._alone(places, stretch.at(told), np.where(ended, ends, -1), now))

    def _alone(self, places: Ints, begins: Ints, ends: Ints, now: int) -> Seen:
        """Where tasks begin and end of series that are not inactive, or some composite looks at, and have no sample."""
        state = self._series.state
        troubled = np.full(max(int(places.max(initial=-1)) + 1, len(state)), self._member)
        troubled[: len(state)] |= state != SeriesState.INACTIVE
        mine = np.flatnonzero(troubled[places])
        if not len(mine):
            return nothing()
        places = np.concatenate([places[mine], places[mine]])
        at = np.concatenate([begins[mine], ends[mine]])
        kept = (at > now) & (at < self._stretch.width)
        places, at = places[kept], at[kept]
        if not len(at):
            return nothing()
        totals, _ = self._totals(places, self._stretch.from_us + at * self._stretch.grid_us)
        empty = totals.count == 0
        yes = np.ones(int(np.count_nonzero(empty)), np.bool_)
        return Seen(places[empty], at[empty], ~yes, yes)


def _changes(column: Any) -> Bools:
    """Where a column differs from the row before; of the first row of a series nobody asks."""
    changed = np.zeros(len(column), np.bool_)
    changed[1:] = column[1:] != column[:-1]
    return changed


class LookAhead:
    """The instants at which any series of a history has to be looked at.

    Args:
        spec: the triggers.
        framework: their states.
        telemetry: the history.
        peak: of the incidents that are open.
    """

    def __init__(self, spec: Spec, framework: TriggerFramework, telemetry: Replayed, peak: Peak) -> None:
        enabled = [series for series in framework.series if series.trigger.enabled]
        self._composites = [series for series in enabled if series.members]
        members = {name for series in self._composites for name in series.members}
        self._sights: dict[str, Sight] = {}
        for series in enabled:
            name = series.trigger.name
            if series.absence is not None:
                self._sights[name] = Quiet(series, series.absence, telemetry)
            elif not series.members:
                self._sights[name] = Sampled(series, telemetry, peak, member=name in members)
        self.telemetry = telemetry
        self._grid_us = spec.grid * MICRO
        self._from_us = 0

    def begin(self, from_us: int, until_us: int) -> None:
        """Look along the instants after `from_us`, up to and including `until_us`, which were folded ahead."""
        self._from_us = from_us
        for sight in self._sights.values():
            sight.begin(Stretch(from_us, until_us, self._grid_us))

    def again(self, trigger: str, group: Group, t_us: int) -> None:
        """Look again at a series whose state has changed at `t_us`, or what its window or its baseline is made of."""
        sight = self._sights.get(trigger)
        if sight is not None:
            sight.again(group, t_us)

    def together(self, due: Collection[str]) -> set[str]:
        """What is to be looked at with triggers that are due: composites of them, with all that those look at."""
        found = set(due)
        for series in self._composites:
            own = {series.trigger.name, *series.members}
            if not own.isdisjoint(due):
                found |= own
        return found

    def due_us(self, t_us: int) -> dict[str, int]:
        """The next instant after `t_us` at which something can happen because of what happened, by trigger."""
        now = (t_us - self._from_us) // self._grid_us
        # What a composite looks at matters while it is not inactive, and that its members speak if its silence fires.
        watched = any(series.must_have_spoken or series.state.any() for series in self._composites)
        found = {name: sight.next(now, watched=watched) for name, sight in self._sights.items()}
        return {name: self._from_us + at * self._grid_us for name, at in found.items() if at is not None}
