"""Samples in flat rows: what any stretch of time of any group adds up to, many stretches at once.

The panes say what a window holds at the instant that is looked at. To see ahead, the samples themselves lie here in the
order of their groups and times, with running sums, so that what lies between two times is one difference.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from self_healing.clock import HOUR_US
from self_healing.measures import COARSE_US, MICRO, NONE_MAX, NONE_MIN, Ints, Totals
from self_healing.spec import PERCENT, Aggregate, Baseline, RateOfChange, TriggerSpec
from self_healing.telemetry.cells import Places
from self_healing.telemetry.samples import Joining

_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class Late:
    """A sample that is heard of after it was.

    Args:
        at_us: when it is heard of, microseconds.
        row: its columns; the place of its group and its time come first.
    """

    at_us: int
    row: tuple[int, ...]


class Flat:
    """The samples of one measure.

    Args:
        reach_us: how far behind an instant a window of it begins, microseconds.
        before_us: how far behind that a baseline begins; 0 when none is asked for. What lies there is merged by the 15
            minutes, for nothing that is asked begins or ends within them.
        extremes: which of the largest and the smallest sample some trigger asks for.
        groups: how many there can be.
    """

    def __init__(self, reach_us: int, before_us: int, extremes: Collection[Aggregate], groups: int) -> None:
        self._time_bits = 63 - groups.bit_length()  # of a number of group and time: nine years of 20,000 groups
        self._tells = tuple(aggregate in extremes for aggregate in (Aggregate.MAX, Aggregate.MIN))
        self._reach_us = reach_us
        self._before_us = before_us
        self._new: list[tuple[Ints, ...]] = []
        self._base_us = 0
        self.late: list[Late] = []
        """The samples that are heard of late in what was folded ahead; each is put in its place in its time."""
        self.version = 0
        self._take(tuple(np.zeros(0, np.int64) for _ in range(_COLUMNS)))

    @classmethod
    def of(cls, triggers: Collection[TriggerSpec], groups: int) -> Flat:
        """That of triggers which measure the same, of so many groups at most."""
        reach_us = before_us = 0
        for trigger in triggers:
            windows = 2 if isinstance(trigger.condition, RateOfChange) else 1
            reach_us = max(reach_us, windows * trigger.window * MICRO)
            if isinstance(trigger.condition, Baseline):
                before_us = max(before_us, trigger.condition.over * MICRO)
        # A call of a model may come an hour after the end of its task, whose sample it adds to.
        extremes = {trigger.aggregate for trigger in triggers}
        if not extremes.isdisjoint(PERCENT):
            extremes |= {Aggregate.MAX, Aggregate.MIN}  # between which a quantile lies
        return cls(reach_us + HOUR_US + 2 * COARSE_US, before_us, extremes, groups)

    @property
    def fits(self) -> bool:
        """Whether it reaches back no further than times can be told apart."""
        return self._reach_us + self._before_us + 2 * HOUR_US < 1 << self._time_bits

    def add(self, samples: Joining) -> None:
        """Take in samples."""
        columns = (samples.places, samples.ts, samples.count, samples.amount, *samples.extremes)
        if samples.rows.heard is None:
            self._new.append(columns)
        else:
            rows = zip(*(column.tolist() for column in columns), strict=True)
            self.late += [Late(at, row) for at, row in zip(samples.heard_us.tolist(), rows, strict=True)]

    def hear(self, t_us: int) -> None:
        """Put what is heard of late up to `t_us` in its place."""
        heard = [late for late in self.late if late.at_us <= t_us]
        if heard:
            self.late = [late for late in self.late if late.at_us > t_us]
            self._new += [tuple(np.array([figure], np.int64) for figure in late.row) for late in heard]
            self.gather()

    def settle(self, t_us: int) -> None:
        """Let go of what nothing reaches from `t_us` on, and merge what only baselines reach."""
        self.gather()
        keep_us = (t_us - self._reach_us) // COARSE_US * COARSE_US
        base_us = keep_us - (-(-self._before_us // COARSE_US) + 1) * COARSE_US if self._before_us else keep_us
        kept = self.ts >= base_us
        columns = [column[kept] for column in self._columns]
        if self._before_us and len(columns[0]):
            places, ts, *figures = columns
            ts = np.where(ts < keep_us, ts // COARSE_US * COARSE_US, ts)
            firsts = np.ones(len(ts), np.bool_)
            firsts[1:] = (places[1:] != places[:-1]) | (ts[1:] != ts[:-1])
            starts = np.flatnonzero(firsts)
            merges = (np.add, np.add, np.maximum, np.minimum)
            columns = [places[starts], ts[starts]]
            columns += [merge.reduceat(figure, starts) for merge, figure in zip(merges, figures, strict=True)]
        self._base_us = base_us
        self._take(tuple(columns))

    def gather(self) -> None:
        """Put what is new in its place."""
        if not self._new:
            return
        new = [np.concatenate(column) for column in zip(*self._new, strict=True)]
        self._new = []
        keys = self._keys(new[0], new[1])
        order = _order(new[0], new[1], keys)
        columns = [np.concatenate([old, each[order]]) for old, each in zip(self._columns, new, strict=True)]
        if len(self._sorted):
            # Two runs that are sorted already: that is what this kind of sort is quick at.
            order = np.argsort(np.concatenate([self._sorted, keys[order]]), kind="stable")
            columns = [column[order] for column in columns]
        self._take(tuple(columns))

    def _take(self, columns: tuple[Ints, ...]) -> None:
        self._columns = columns
        self.version += 1
        self.places, self.ts, count, amount, self._high, self._low = columns
        self._sorted = self._keys(self.places, self.ts)
        self._count, self._amount = (np.concatenate([[0], np.cumsum(each)]) for each in (count, amount))
        self._extremes: list[Ints] = [np.zeros((0, 0), np.int64)] * 2

    def _keys(self, places: Ints, ts: Ints) -> Ints:
        # Not clip(), which on what is asked at one instant takes longer than all else here.
        return (places << self._time_bits) + np.minimum(np.maximum(ts - self._base_us, 0), (1 << self._time_bits) - 1)

    def of_group(self, place: int) -> slice:
        """Where the samples of one group lie."""
        first, end = np.searchsorted(self.places, (place, place + 1)).tolist()
        return slice(first, end)

    def between(self, places: Ints, from_us: Ints, until_us: Ints, *, extremes: bool = False) -> Totals:
        """The totals of stretches, one element each; until, and not including, `until_us`."""
        start = np.searchsorted(self._sorted, self._keys(places, from_us))
        end = np.maximum(np.searchsorted(self._sorted, self._keys(places, until_us)), start)
        count, amount = self._count[end] - self._count[start], self._amount[end] - self._amount[start]
        found = np.full(len(count), NONE_MAX), np.full(len(count), NONE_MIN)
        if extremes and any(self._tells):
            self._put_extremes(start, end, found)
        return Totals(count, amount, *found)

    def first_counted_us(self, places: Ints, from_us: Ints, until_us: int) -> Ints:
        """The time of the first sample of each place from its `from_us` on, up to `until_us`; 0 where there is none."""
        start = np.searchsorted(self._sorted, self._keys(places, from_us))
        row = np.searchsorted(self._count, self._count[start], side="right") - 1  # what counts nothing is passed over
        there = row < len(self.ts)
        row[~there] = 0
        if there.any():
            there &= (self.places[row] == places) & (self.ts[row] <= until_us)
        return np.where(there, self.ts[row], 0) if len(self.ts) else np.zeros(len(places), np.int64)

    def _put_extremes(self, start: Ints, end: Ints, found: tuple[Ints, Ints]) -> None:
        """The extremes of stretches of rows, each from two overlapping stretches whose lengths are powers of two."""
        length = end - start
        some = length > 0
        levels = int(length.max(initial=1)).bit_length()
        level = np.frexp(np.maximum(length[some], 1))[1] - 1
        first, last = start[some], (end[some] - (1 << level.astype(np.int64)))
        columns = (self._high, self._low)
        for place, merge in enumerate((np.maximum, np.minimum)):
            if self._tells[place]:
                if len(self._extremes[place]) < levels:
                    self._extremes[place] = _doubling(columns[place], merge, levels)
                of = self._extremes[place]
                found[place][some] = merge(of[level, first], of[level, last])


def _order(places: Ints, ts: Ints, keys: Ints) -> Places:
    """The order of `keys`: of samples that come in the order of time, as they mostly do, that of their groups."""
    if (ts[1:] >= ts[:-1]).all() and int(places.max(initial=0)) <= _FEW_GROUPS:
        return np.argsort(places.astype(np.uint16), kind="stable")  # which small numbers are sorted by in one pass
    return np.argsort(keys, kind="stable")


_FEW_GROUPS = int(np.iinfo(np.uint16).max)


def _doubling(column: Ints, merge: np.ufunc, levels: int) -> Ints:
    """The extremes of 1, 2, 4, ... rows from each row on."""
    found = np.empty((levels, len(column)), np.int64)
    found[0] = column
    for level in range(1, levels):
        half = 1 << (level - 1)
        found[level] = found[level - 1]
        merge(found[level - 1, :-half], found[level - 1, half:], out=found[level, :-half])
    return found
