"""Panes: the mergeable aggregates of one measure, a row a slice of event time and a column a group.

Two rings hold them: 10 s panes, as far back as the windows need them, and 15-minute panes for baselines. Every sample
goes into both, so a coarse pane is at any moment what merging its fine ones would give, and merging is a sum.
"""

from __future__ import annotations

import numpy as np

from self_healing.clock import MINUTE_US
from self_healing.measures import COARSE_US, FINE_US, NONE_MAX, NONE_MIN, Ints, Measure, Totals

AHEAD_US = 5 * MINUTE_US
"""How far beyond now an event may lie; further is quarantined, so no pane is ever needed beyond that."""


def empty_totals(groups: int) -> Totals:
    """The totals of no pane at all."""
    return Totals(
        np.zeros(groups, np.int64),
        np.zeros(groups, np.int64),
        np.full(groups, NONE_MAX, np.int64),
        np.full(groups, NONE_MIN, np.int64),
    )


class Ring:
    """The newest panes of one length.

    Args:
        pane_us: length of a pane, microseconds.
        rows: how many panes are kept.
        extremes: whether the largest and the smallest sample are kept; nothing is kept that no trigger asks for.
    """

    def __init__(self, pane_us: int, rows: int, *, extremes: bool) -> None:
        self.pane_us = pane_us
        self.rows = rows
        self.newest = -1
        self.dirty: set[int] = set()
        self.width = 8
        self.filled = np.zeros(rows, np.bool_)  # which panes have a sample of any group
        self.count = np.zeros((rows, self.width), np.int64)
        self.amount = np.zeros((rows, self.width), np.int64)
        self.maximum = np.full((rows, self.width), NONE_MAX, np.int64) if extremes else None
        self.minimum = np.full((rows, self.width), NONE_MIN, np.int64) if extremes else None

    def _arrays(self) -> list[tuple[str, Ints, int]]:
        arrays = [("count", self.count, 0), ("amount", self.amount, 0)]
        if self.maximum is not None and self.minimum is not None:
            arrays += [("maximum", self.maximum, NONE_MAX), ("minimum", self.minimum, NONE_MIN)]
        return arrays

    @property
    def oldest(self) -> int:
        """The oldest pane that is kept; below 0 at first."""
        return self.newest - self.rows + 1

    def widen(self, groups: int) -> None:
        """Make room for that many groups."""
        if groups <= self.width:
            return
        wide = max(groups, self.width * 3 // 2)
        for name, array, nothing in self._arrays():
            wider = np.full((self.rows, wide), nothing, np.int64)
            wider[:, : self.width] = array
            setattr(self, name, wider)
        self.width = wide

    def advance(self, slot: int) -> None:
        """Let panes up to `slot` begin, and the oldest go."""
        if slot <= self.newest:
            return
        first = max(self.newest + 1, slot - self.rows + 1)
        stale = np.arange(first, slot + 1) % self.rows
        for _, array, nothing in self._arrays():
            array[stale] = nothing
        self.filled[stale] = False
        self.newest = slot

    def add(self, ts: Ints, places: Ints, count: Ints, amount: Ints) -> None:
        """Put samples into their panes; those older than the ring are none of its business."""
        slots = ts // self.pane_us
        self.advance(int(slots.max()))
        if int(slots.min()) < self.oldest:
            keep = slots >= self.oldest
            slots, places, count, amount = slots[keep], places[keep], count[keep], amount[keep]
        self._mark(slots)
        cells = slots % self.rows * self.width + places
        # Along one axis: numpy adds there eight times as fast as at pairs of indices.
        np.add.at(self.count.reshape(-1), cells, count)
        np.add.at(self.amount.reshape(-1), cells, amount)
        if self.maximum is not None and self.minimum is not None:
            counted = count > 0
            cells, amount = cells[counted], amount[counted]
            np.maximum.at(self.maximum.reshape(-1), cells, amount)
            np.minimum.at(self.minimum.reshape(-1), cells, amount)

    def _mark(self, slots: Ints) -> None:
        touched = np.flatnonzero(np.bincount(slots - self.oldest)) + self.oldest
        self.filled[touched % self.rows] = True
        self.dirty.update(touched.tolist())

    def totals(self, first: int, last: int, groups: int) -> Totals:
        """The merged panes of the slots `first` to `last`, as far as they are kept."""
        self.widen(groups)
        first = max(first, self.oldest, 0)
        last = min(last, self.newest)
        merged = empty_totals(groups)
        if first > last:
            return merged
        start, end = first % self.rows, last % self.rows + 1
        spans = [slice(start, end)] if start < end else [slice(start, self.rows), slice(0, end)]
        for span in spans:
            merged.count += self.count[span, :groups].sum(axis=0)
            merged.amount += self.amount[span, :groups].sum(axis=0)
            if self.maximum is not None and self.minimum is not None:
                np.maximum(merged.maximum, self.maximum[span, :groups].max(axis=0), out=merged.maximum)
                np.minimum(merged.minimum, self.minimum[span, :groups].min(axis=0), out=merged.minimum)
        return merged

    def first_filled(self, slot: int) -> int | None:
        """The oldest pane with a sample, from `slot` on; None when there is none."""
        slots = np.arange(max(slot, self.oldest, 0), self.newest + 1)
        filled = self.filled[slots % self.rows]
        return int(slots[filled.argmax()]) if filled.any() else None

    def pack(self) -> list[tuple[int, bytes]]:
        """The panes that changed since this was last called, oldest first, each as bytes for the state."""
        slots = sorted(slot for slot in self.dirty if slot >= self.oldest)
        self.dirty.clear()
        rows = np.array(slots, np.int64) % self.rows
        arrays = self._arrays()
        columns = np.stack([array[rows] for _, array, _ in arrays], axis=1)
        make = bytes([len(arrays)])
        return [(slot, make + pane.tobytes()) for slot, pane in zip(slots, columns, strict=True)]

    def unpack(self, slot: int, packed: bytes) -> None:
        """Put back a pane as :meth:`pack` gave it.

        One that is too old is left out, and one from before the extremes were asked for, or while they were.
        """
        arrays = self._arrays()
        if packed[0] != len(arrays):
            return
        self.advance(slot)
        if slot < self.oldest:
            return
        columns = np.frombuffer(packed[1:], np.int64).reshape(len(arrays), -1)
        self.widen(columns.shape[1])
        self.filled[slot % self.rows] = True
        for (_, array, _), column in zip(self._arrays(), columns, strict=True):  # widening made new ones
            array[slot % self.rows, : len(column)] = column


class PaneTable:
    """All panes of one measure.

    Args:
        measure: what they measure.
        window_us: how far back the longest window over it reaches.
        baseline_us: how far back its baselines reach behind their windows; 0 when nothing asks for one.
        extremes: whether some trigger asks for a maximum or a minimum.
    """

    def __init__(self, measure: Measure, window_us: int, baseline_us: int, *, extremes: bool) -> None:
        self.measure = measure
        self.version = 0
        # A baseline ends inside a coarse pane, so the fine ones must reach a coarse pane further back than the window.
        back_us = window_us + (COARSE_US if baseline_us else 0) + AHEAD_US
        self.fine = Ring(FINE_US, back_us // FINE_US + 2, extremes=extremes)
        coarse_us = window_us + baseline_us + AHEAD_US if baseline_us else 0
        self.coarse = Ring(COARSE_US, coarse_us // COARSE_US + 3, extremes=False) if baseline_us else None
        self._cache: dict[tuple[str, int, int, int], Totals] = {}

    @property
    def rings(self) -> list[Ring]:
        """The rings that are kept."""
        return [self.fine] if self.coarse is None else [self.fine, self.coarse]

    @property
    def oldest_us(self) -> int:
        """When the oldest pane that is kept begins: no older sample joins anything. Below 0 at first."""
        return min(ring.oldest * ring.pane_us for ring in self.rings)

    def add(self, ts: Ints, places: Ints, count: Ints, amount: Ints, groups: int) -> None:
        """Put samples into their panes."""
        if not len(ts):
            return
        self.version += 1
        self._cache.clear()
        for ring in self.rings:
            ring.widen(groups)
            ring.add(ts, places, count, amount)

    def window(self, from_us: int, to_us: int, groups: int) -> Totals:
        """The panes from the one that holds `from_us` up to the one that holds `to_us`; worked out once."""
        key = ("window", from_us // FINE_US, to_us // FINE_US, groups)
        if key not in self._cache:
            self._bound_cache()
            self._cache[key] = self.fine.totals(key[1], key[2], groups)
        return self._cache[key]

    def first_sampled_us(self, from_us: int) -> int | None:
        """When the oldest pane with a sample begins, from the one that holds `from_us` on; None when there is none."""
        slot = self.fine.first_filled(from_us // FINE_US)
        return None if slot is None else slot * FINE_US

    def baseline(self, from_us: int, until_us: int, groups: int) -> Totals:
        """The panes from the coarse one that holds `from_us` up to, and without, the fine one that holds `until_us`."""
        key = ("baseline", from_us // COARSE_US, until_us // FINE_US, groups)
        if key not in self._cache:
            self._bound_cache()
            self._cache[key] = self._merge(from_us, until_us, groups)
        return self._cache[key]

    def _merge(self, from_us: int, until_us: int, groups: int) -> Totals:
        if self.coarse is None:
            return empty_totals(groups)
        end_coarse = until_us // COARSE_US
        whole = self.coarse.totals(from_us // COARSE_US, end_coarse - 1, groups)
        rest = self.fine.totals(end_coarse * COARSE_US // FINE_US, until_us // FINE_US - 1, groups)
        return Totals(whole.count + rest.count, whole.amount + rest.amount, whole.maximum, whole.minimum)

    def _bound_cache(self) -> None:
        if len(self._cache) > 32:
            self._cache.clear()
