"""Looking: the totals that the series of a trigger are judged by, and compared with, at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from self_healing.measures import (
    FINE_US,
    MICRO,
    Bools,
    Ints,
    Totals,
    Windows,
    add_running,
    begins_us,
    judged,
    pane_us_of,
    successive_us,
)
from self_healing.model import SeriesState
from self_healing.spec import Baseline
from self_healing.taps import Restart
from self_healing.triggers.figures import firing, signs_that_count, silence
from self_healing.triggers.series import NEVER, Gathered, Series

_NONE = np.zeros(0, np.int64)


class Looking:
    """Gathers what an evaluation looks at.

    Args:
        windows: where totals come from.
        series: those of each trigger, by its name.
    """

    def __init__(self, windows: Windows, series: Mapping[str, Series]) -> None:
        self._windows = windows
        self._series = series

    def widen(self, series: Series) -> None:
        """Make room in a trigger's columns for the groups that were seen since."""
        if series.counts_running:
            # A group whose first task still runs has no sample yet; asking for its age is what makes it known.
            self._windows.oldest_running(series.measure)
        if series.absence is not None:
            self._windows.last_sign(series.measure)
        series.widen(len(self._windows.groups(series.measure.grouped)))

    def gather(self, series: Series, t_us: int) -> Gathered:
        """The totals to judge at `t_us`; worked out once, for as long as nothing changes."""
        if series.members:
            members = [self._series[name] for name in series.members]
            return Gathered(t_us, (), firing(series, [(each, self._seen_at(series, each)) for each in members]), None)
        if series.absence is not None:
            last_us = self._windows.last_sign(series.measure)
            known = series.gathered
            if known is None or not known.is_from(t_us, (last_us,)) or len(known.totals.count) != len(series):
                known = series.gathered = Gathered(t_us, (last_us,), silence(self.signs(series), t_us), None)
            return known
        trigger, measure = series.trigger, series.measure
        oldest = self._windows.oldest_running(measure) if series.counts_running else None
        window, shared = self._shared(series, t_us)
        sources = (window, oldest, shared)
        known = series.gathered
        if known is not None and known.is_from(t_us, sources):
            return known
        totals, before = self._own(series, window, shared, t_us)
        if oldest is not None:
            totals = add_running(totals, self.counting(series, oldest), t_us)
        held, totals = totals.count, judged(trigger, totals)
        if series.changes and before is not None:
            before = judged(trigger, before)
        if before is not None and series.baseline is not None:
            before = self._before(series, series.baseline, before, t_us)
        series.gathered = Gathered(t_us, sources, totals, before, held)
        return series.gathered

    def hear(self, series: Series, sampled: Bools, t_us: int) -> None:
        """Remember from when on what is first heard of at `t_us` was watched: from after the pane of its first sample.

        That is told by the samples and not by the instant, so whoever looks seldom tells the same.

        Args:
            sampled: which groups have samples then. Those that had some before are known already.
        """
        new = series.unheard(sampled) if series.asks_whole else _NONE
        if not len(new):
            return
        window_us = series.window_us
        pane_us = FINE_US if series.changes else pane_us_of(window_us)
        begun_us = successive_us(window_us, t_us)[1] if series.changes else begins_us(window_us, t_us)
        from_us = -(-series.restarted_us[new] // pane_us) * pane_us
        first_us = self._windows.first_heard_us(series.measure, new, from_us, pane_us)
        restarted = self._windows.restarted(series.trigger.name, begun_us)
        for number, place in enumerate(new.tolist() if restarted else ()):
            if place in restarted:
                first_us[number] = restarted[place].first_heard_us
        series.watch(new, first_us // pane_us * pane_us + pane_us)

    def watch(self, series: Series, from_us: int) -> None:
        """Remember that all that a trigger looks at is there from `from_us` on, or from where a window began anew."""
        places = np.flatnonzero(series.spoken) if series.asks_whole else _NONE
        if len(places):
            own = self._windows.restarted(series.trigger.name, NEVER)
            began_us = [own[place].since_us if place in own else NEVER for place in places.tolist()]
            series.watch(places, np.maximum(began_us, from_us))

    def reaching_behind(self, series: Series, t_us: int) -> list[int]:
        """The places of the inactive groups whose window reaches back behind their last close, and is not their own."""
        if series.members or series.absence is not None:
            return []
        begins = successive_us(series.window_us, t_us)[0] if series.changes else begins_us(series.window_us, t_us)
        behind = (series.restarted_us > NEVER) & (series.restarted_us // FINE_US >= begins // FINE_US)
        places = np.flatnonzero(behind & (series.state == SeriesState.INACTIVE)).tolist()
        own = self._windows.restarted(series.trigger.name, begins) if places else {}
        return [place for place in places if place not in own]

    def _seen_at(self, series: Series, member: Series) -> Ints:
        """The places among a composite's groups of the groups of one of its triggers, -1 for one that it has not."""
        if member.measure.grouped == series.measure.grouped:
            return np.arange(len(member))
        groups = self._windows.groups(member.measure.grouped)[: len(member)]
        places = (self._windows.place(series.measure.grouped, group) for group in groups)
        return np.array([-1 if place is None else place for place in places], np.int64)

    def signs(self, series: Series) -> Ints:
        """The last sign of life of each group that counts."""
        measure, windows = series.measure, self._windows
        last_us = windows.last_sign(measure)[: len(series)]
        return signs_that_count(series, last_us, lambda place, at_us: windows.last_sign_since(measure, place, at_us))

    def _shared(self, series: Series, t_us: int) -> tuple[Totals, Totals | None]:
        """The window, and what it is compared with, as all triggers see them that measure the same."""
        measure, window_us = series.measure, series.window_us
        if series.changes:
            return self._windows.successive(measure, window_us, t_us)
        window = self._windows.window(measure, window_us, t_us)
        if series.baseline is None:
            return window, None
        return window, self._windows.baseline(measure, window_us, series.baseline.over * MICRO, t_us)

    def _own(self, series: Series, window: Totals, before: Totals | None, t_us: int) -> tuple[Totals, Totals | None]:
        """The same with the windows of their own of the groups whose window was restarted."""
        if series.changes and before is not None:
            earlier_us, from_us, end_us = successive_us(series.window_us, t_us)
            restarted = self._windows.restarted(series.trigger.name, earlier_us)
            window = _replaced(window, restarted, from_us, end_us - 1)
            return window, _replaced(before, restarted, earlier_us, from_us - 1)
        from_us = begins_us(series.window_us, t_us)
        return _replaced(window, self._windows.restarted(series.trigger.name, from_us), from_us, t_us), before

    def counting(self, series: Series, oldest: Ints) -> Ints:
        """The starts of the running tasks that count by age: none that ran when their series' last incident closed."""
        closed = oldest <= series.restarted_us
        if not closed.any():
            return oldest
        counting = oldest.copy()
        for place in np.flatnonzero(closed).tolist():
            since_us = int(series.restarted_us[place])
            counting[place] = self._windows.oldest_running_since(series.measure, place, since_us)
        return counting

    def _before(self, series: Series, baseline: Baseline, shared: Totals, t_us: int) -> Totals:
        """The baseline of each group: without the time of its own incidents, and frozen while it fires."""
        frozen = series.frozen_count >= 0
        if not series.left_out and not frozen.any():
            return shared
        before = Totals(shared.count.copy(), shared.amount.copy(), shared.maximum, shared.minimum)
        from_us = t_us - series.window_us - baseline.over * MICRO
        gaps = list(series.gaps(from_us, begins_us(series.window_us, t_us)))
        if gaps:
            places, start_us, end_us = np.array(gaps, np.int64).T
            count, amount = self._windows.single(series.measure, places, start_us, end_us)
            np.subtract.at(before.count, places, count)
            np.subtract.at(before.amount, places, amount)
        np.copyto(before.count, series.frozen_count, where=frozen)
        np.copyto(before.amount, series.frozen_amount, where=frozen)
        return before


def _replaced(totals: Totals, restarted: Mapping[int, Restart], from_us: int, to_us: int) -> Totals:
    """The totals, for the restarted groups of their own panes between those instants."""
    if not restarted:
        return totals
    own = {place: restart.totals(from_us, to_us) for place, restart in restarted.items()}
    histograms = totals.histograms
    if histograms is not None:
        histograms = histograms.replaced({place: each.histograms for place, each in own.items() if each.histograms})
    mixed = replace(
        totals,
        count=totals.count.copy(),
        amount=totals.amount.copy(),
        maximum=totals.maximum.copy(),
        minimum=totals.minimum.copy(),
        histograms=histograms,
    )
    for place, single in own.items():
        mixed.count[place], mixed.amount[place] = single.count[0], single.amount[0]
        mixed.maximum[place], mixed.minimum[place] = single.maximum[0], single.minimum[0]
    return mixed
