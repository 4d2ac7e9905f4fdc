"""Due: when what a series is judged by changes though nothing more is heard."""

from __future__ import annotations

from collections.abc import Iterator

from self_healing.clock import HOUR_US
from self_healing.measures import COARSE_US, FINE_US, MICRO, NONE_MIN, Windows, begins_us, pane_us_of, whole
from self_healing.spec import Operator, Threshold
from self_healing.triggers.figures import next_silence_us
from self_healing.triggers.looking import Looking
from self_healing.triggers.series import Series


class Due:
    """Says when to look again.

    Args:
        windows: where totals come from.
        looking: what is looked at.
    """

    def __init__(self, windows: Windows, looking: Looking) -> None:
        self._windows = windows
        self._looking = looking

    def after(self, series: Series, t_us: int) -> Iterator[int]:
        """When the totals of some series of a trigger change after `t_us`, microseconds; in no order."""
        yield from self._panes(series, t_us)
        yield from self._ages(series, t_us)

    def _panes(self, series: Series, t_us: int) -> Iterator[int]:
        """When the next pane leaves the window, or the baseline behind it."""
        if series.absence is not None:
            yield from next_silence_us(series.absence.silent_for, self._looking.signs(series), t_us)
        if series.absence is not None or series.members:
            return
        if series.changes:
            yield from self._successive(series, t_us)
            return
        first_us = self._windows.first_sampled_us(series.measure, begins_us(series.window_us, t_us))
        if first_us is None:
            return
        pane_us = pane_us_of(series.window_us)
        yield (first_us // pane_us + 1) * pane_us + series.window_us
        yield t_us + HOUR_US  # until when there were enough samples is then known to the hour, whatever the window
        if series.baseline is not None:
            behind_us = series.window_us + series.baseline.over * MICRO
            yield ((t_us - behind_us) // COARSE_US + 1) * COARSE_US + behind_us

    def _successive(self, series: Series, t_us: int) -> Iterator[int]:
        """When the next pane enters the later of two windows, passes over into the earlier one, or leaves that."""
        begun_us = t_us // FINE_US * FINE_US
        for behind_us in (FINE_US, FINE_US + series.window_us, FINE_US + 2 * series.window_us):
            first_us = self._windows.first_sampled_us(series.measure, max(begun_us + FINE_US - behind_us, 0))
            if first_us is not None:
                yield first_us + behind_us
                yield t_us + HOUR_US

    def _ages(self, series: Series, t_us: int) -> Iterator[int]:
        """When the oldest running task of some group reaches the threshold, or passes `clear`, by its age."""
        trigger, condition = series.trigger, series.trigger.condition
        if not series.counts_running or not isinstance(condition, Threshold):
            return
        oldest = self._looking.counting(series, self._windows.oldest_running(series.measure)[: len(series)])
        oldest = oldest[oldest != NONE_MIN]
        beyond = int(condition.op in (Operator.GT, Operator.LE))  # those turn just after the value, the others at it
        for value in {condition.value, condition.value if trigger.clear is None else trigger.clear}:
            turns = oldest + (whole(value * MICRO) + beyond)
            turns = turns[turns > t_us]
            if len(turns):
                yield int(turns.min())
