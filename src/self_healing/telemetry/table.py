"""All that is kept of one measure: its panes, and its histograms where some trigger asks a quantile of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from self_healing.measures import FINE_US, NONE_MAX, NONE_MIN, Ints, Measure, Totals
from self_healing.spec import PERCENT, Aggregate
from self_healing.telemetry.buckets import BUCKETS, Buckets
from self_healing.telemetry.cells import EXTREMES, SUMS, Places
from self_healing.telemetry.panes import Panes
from self_healing.telemetry.ring import Ring
from self_healing.telemetry.samples import Spread

BOUNDS = " extremes"
"""Comes behind the key of a measure in the name of its extremes, where it is said since when they are kept."""


class PaneTable:
    """All panes of one measure.

    Args:
        measure: what they measure.
        window_us: how far back the longest window over it reaches.
        baseline_us: how far back its baselines reach behind their windows; 0 when nothing asks for one.
        extremes: the lengths of the windows of which some trigger asks a maximum or a minimum, microseconds; nothing
            is kept that no trigger asks for.
        quantiles: the same for quantiles; these need the extremes as well.
        changes: the lengths of the windows that are compared with the one right before, microseconds.
    """

    def __init__(
        self,
        measure: Measure,
        window_us: int,
        baseline_us: int,
        *,
        extremes: Collection[int],
        quantiles: Collection[int] = (),
        changes: Collection[int] = (),
    ) -> None:
        self.measure = measure
        extremes = {*extremes, *quantiles}
        self._extremes = bool(extremes)
        changes_us = max(changes, default=0)
        fields = (*SUMS, *EXTREMES) if extremes else SUMS
        self.panes = Panes(fields, window_us, baseline_us, extremes, changes_us=changes_us)
        self._quantiles = frozenset(quantiles)
        self._buckets = Buckets(max(quantiles), changes_us) if quantiles else None
        self._said: dict[tuple[str, int, int], tuple[list[Ints], Totals]] = {}

    @property
    def tells_quantiles(self) -> bool:
        """Whether quantiles are asked of it."""
        return self._buckets is not None

    @property
    def oldest_us(self) -> int:
        """When the oldest pane that is kept begins: no older sample joins anything. Below 0 at first."""
        return min(ring.oldest * ring.pane_us for ring in self.panes.rings)

    def add(self, ts: Ints, places: Ints, count: Ints, amount: Ints, spread: Spread | None = None) -> None:
        """Put samples into their panes.

        Args:
            ts: microseconds.
            places: of their groups.
            count: how many samples each stands for; one that stands for none adds to the sum alone.
            amount: millionths of the unit.
            spread: where a sample is more than one amount.
        """
        columns = [count, amount]
        if self._extremes:
            counted = count > 0
            high, low = (amount, amount) if spread is None else (spread.high, spread.low)
            columns += [np.where(counted, high, NONE_MAX), np.where(counted, low, NONE_MIN)]
        self.panes.add(ts, places, columns)
        if self._buckets is not None and spread is None:
            self._buckets.add_amounts(ts, places, count, amount)
        elif self._buckets is not None and spread is not None:
            self._buckets.add(ts[spread.of], places[spread.of], spread.codes, spread.counts)

    def window(self, window_us: int, t_us: int, groups: int) -> Totals:
        """The totals of a window of that length at `t_us`; without extremes and histograms where none are asked for."""
        totals = self._totals(("window", window_us, 0), self.panes.window(window_us, t_us, groups))
        if self._buckets is not None and window_us in self._quantiles and totals.histograms is None:
            totals.histograms = self._buckets.window(window_us, t_us, groups)
        return totals

    def baseline(self, window_us: int, over_us: int, t_us: int, groups: int) -> Totals:
        """The totals of the `over_us` before such a window."""
        columns = self.panes.baseline(window_us, over_us, t_us, groups)
        return self._totals(("baseline", window_us, over_us), columns)

    def successive(self, window_us: int, t_us: int, groups: int) -> tuple[Totals, Totals]:
        """The totals of two windows, the later up to the pane that holds `t_us`, and the one right before it."""
        later, earlier = self.panes.successive(window_us, t_us, groups)
        both = self._totals(("later", window_us, 0), later), self._totals(("earlier", window_us, 0), earlier)
        if self._buckets is not None and window_us in self._quantiles:
            histograms = self._buckets.successive(window_us, t_us, groups)
            for totals, found in zip(both, histograms, strict=True):
                totals.histograms = found
        return both

    def _totals(self, asked: tuple[str, int, int], columns: list[Ints]) -> Totals:
        said = self._said.get(asked)
        if said is None or said[0] is not columns:
            maximum, minimum = columns[len(SUMS) :] or [np.full_like(columns[0], each.nothing) for each in EXTREMES]
            said = self._said[asked] = (columns, Totals(columns[0], columns[1], maximum, minimum))
        return said[1]

    def single(self, places: Places, from_us: Ints, until_us: Ints) -> tuple[Ints, Ints]:
        """Count and amount of single groups, each from a coarse pane's beginning up to the pane before its end."""
        count, amount = self.panes.single(places, from_us // FINE_US, until_us // FINE_US - 1)
        return count, amount

    # -- state

    @property
    def rings(self) -> Iterator[tuple[str, Ring]]:
        """All rings, each with the name under which its panes are stored."""
        for ring in self.panes.rings:
            yield self.measure.key, ring
        for ring in () if self._buckets is None else self._buckets.panes.rings:
            yield self.buckets_key, ring

    def kept_from(self) -> Iterator[tuple[str, int]]:
        """What is kept, each by its name, and when the oldest pane begins that is kept of it; 0 at first."""
        yield self.measure.key, max(self.oldest_us, 0)
        if self._extremes:
            long = [ring for ring in self.panes.rings if ring.fields == self.panes.fields]
            yield self.measure.key + BOUNDS, max(min(ring.oldest * ring.pane_us for ring in long), 0)
        if self._buckets is not None:
            yield self.buckets_key, max(min(ring.oldest * ring.pane_us for ring in self._buckets.panes.rings), 0)

    def names_for(self, aggregate: Aggregate) -> list[str]:
        """The names of what is looked at for an aggregate."""
        names = [self.measure.key]
        if aggregate in (Aggregate.MAX, Aggregate.MIN):
            names.append(self.measure.key + BOUNDS)
        elif aggregate in PERCENT:
            names.append(self.buckets_key)
        return names

    @property
    def buckets_key(self) -> str:
        """The name under which its histograms are stored."""
        return self.measure.key + BUCKETS

    def pack(self) -> Iterator[tuple[str, int, int, bytes]]:
        """The panes that changed since the last time: under which name, length in microseconds, slot and bytes."""
        for ring in self.panes.rings:
            for slot, packed in ring.pack():
                yield self.measure.key, ring.pane_us, slot, packed
        if self._buckets is not None:
            for ring in self._buckets.panes.rings:
                for slot, packed in self._buckets.pack(ring):
                    yield self.buckets_key, ring.pane_us, slot, packed

    def complete(self) -> None:
        """Make coarse panes of the fine ones that were put back, where there are none."""
        self.panes.coarsen()
        if self._buckets is not None:
            self._buckets.panes.coarsen()

    def unpack(self, key: str, pane_us: int, slot: int, packed: bytes, *, anew: bool = False) -> None:
        """Put back a pane as :meth:`pack` gave it.

        Args:
            anew: whether the state has it by another name, and is to have it by this one.
        """
        for name, ring in self.rings:
            if (name, ring.pane_us) != (key, pane_us):
                continue
            if self._buckets is not None and key == self.buckets_key:
                self._buckets.unpack(ring, slot, packed)
            else:
                ring.unpack(slot, packed)
            if anew:
                ring.touch(slot)
