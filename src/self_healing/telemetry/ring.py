"""A ring: the newest panes of one length, a pane a slice of event time.

The newest pane is *open*: nearly every sample joins it, so it is kept with an element for each group. Once a newer one
begins it is closed, and packed (:mod:`self_healing.telemetry.cells`); a sample that comes late is merged into it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

import numpy as np

from self_healing.measures import Ints
from self_healing.telemetry import cells as packing
from self_healing.telemetry.cells import Cells, Field, Places

SHORTEST = 8
"""The open pane has room for that many groups at least."""


class Ring:
    """The newest panes of one length.

    Args:
        pane_us: length of a pane, microseconds.
        rows: how many panes are kept.
        fields: the figures of a cell; a count first.
    """

    def __init__(self, pane_us: int, rows: int, fields: Sequence[Field]) -> None:
        self.pane_us = pane_us
        self.rows = rows
        self.fields = tuple(fields)
        self.newest = -1
        self.open: int | None = None
        self.opened = self._empty(SHORTEST)
        self._dirty: set[int] = set()
        self._closed: dict[int, bytes] = {}
        self._slots: list[int] = []  # of the closed ones, ascending

    def _empty(self, width: int) -> list[Ints]:
        return [np.full(width, field.nothing, np.int64) for field in self.fields]

    @property
    def oldest(self) -> int:
        """The oldest pane that is kept; below 0 at first."""
        return self.newest - self.rows + 1

    @property
    def newest_closed(self) -> int:
        """The newest pane that none but late samples will join."""
        return self.newest if self.open is None else self.open - 1

    def add(self, slots: Ints, places: Places, columns: Sequence[Ints]) -> list[tuple[int, Cells]]:
        """Put samples into their panes; those older than the ring are none of its business.

        Returns:
            What joined closed panes, by slot: what was worked out from those panes before wants it too.
        """
        self._advance(int(slots.max()))
        here = slots == self.open
        if here.all():
            self._join_open(places, columns)
            return []
        if here.any():
            self._join_open(places[here], [column[here] for column in columns])
        rest = np.flatnonzero(~here & (slots >= self.oldest))
        if not len(rest):
            return []
        return self._join_closed(slots[rest], places[rest], [column[rest] for column in columns])

    def _join_open(self, places: Places, columns: Sequence[Ints]) -> None:
        self._widen(int(places.max()) + 1)
        for field, opened, column in zip(self.fields, self.opened, columns, strict=True):
            field.merge.at(opened, places, column)
        self._dirty.add(self.newest)

    def _join_closed(self, slots: Ints, places: Places, columns: Sequence[Ints]) -> list[tuple[int, Cells]]:
        """Let samples join their panes: one sort, however many panes a long batch reaches over."""
        wide = int(places.max()) + 1
        merged = Cells.gathered(self.fields, slots * wide + places, columns)
        slots, places = np.divmod(merged.places, wide)
        merged = Cells(places, merged.columns)
        starts = np.flatnonzero(np.diff(slots, prepend=-1)).tolist()
        late = [
            (slot, Cells(places[start:end], tuple(column[start:end] for column in merged.columns)))
            for slot, start, end in zip(slots[starts].tolist(), starts, [*starts[1:], len(slots)], strict=True)
        ]
        for (slot, cells), packed in zip(late, packing.pack_parts(merged, starts), strict=True):
            known = self._closed.get(slot)
            if known is None:
                insort(self._slots, slot)
                self._closed[slot] = packed
            else:
                self._closed[slot] = packing.pack(packing.unpack(known).merged(self.fields, cells))
            self._dirty.add(slot)
        return late

    def _widen(self, groups: int) -> None:
        width = len(self.opened[0])
        if groups > width:
            wider = self._empty(max(groups, width * 3 // 2))
            for new, old in zip(wider, self.opened, strict=True):
                new[:width] = old
            self.opened = wider

    def _advance(self, slot: int) -> None:
        """Let panes up to `slot` begin, and the oldest go."""
        if slot <= self.newest:
            return
        self.close()
        self.newest = self.open = slot
        gone = bisect_left(self._slots, self.oldest)
        for old in self._slots[:gone]:
            del self._closed[old]
        del self._slots[:gone]

    def close(self) -> None:
        """Close the newest pane, whether or not another begins."""
        if self.open is None:
            return
        cells = self._open_cells()
        if len(cells.places):
            self._closed[self.open] = packing.pack(cells)
            self._slots.append(self.open)
        for field, opened in zip(self.fields, self.opened, strict=True):
            opened[:] = field.nothing
        self.open = None

    def reopen(self) -> None:
        """Open the newest pane again, when it was closed before its time."""
        if self.open is not None or self.newest not in self._closed:
            return
        cells = packing.unpack(self._closed.pop(self.newest))
        self._slots.pop()
        self.open = self.newest
        self._join_open(cells.places, cells.columns)

    def _open_cells(self) -> Cells:
        some = self.opened[0] != 0
        if len(self.fields) > 1:
            some |= self.opened[1] != 0  # an amount that came without a sample of its own
        places = np.flatnonzero(some)
        return Cells(places, tuple(opened[places] for opened in self.opened))

    # -- questions

    def between(self, first: int, last: int) -> Iterator[Cells]:
        """The closed panes from `first` to `last` that have samples, as they are packed, the newest first."""
        start, end = bisect_left(self._slots, first), bisect_right(self._slots, last)
        for slot in reversed(self._slots[start:end]):
            yield packing.as_packed(self._closed[slot])

    def cells(self, slot: int) -> Cells | None:
        """One pane; None when no sample is in it."""
        if slot == self.open:
            return self._open_cells()
        packed = self._closed.get(slot)
        return None if packed is None else packing.unpack(packed)

    def places(self) -> Iterator[Places]:
        """The places that have samples, pane by pane."""
        for packed in self._closed.values():
            yield packing.places_of(packed)
        if self.open is not None:
            yield self._open_cells().places

    def closed(self) -> Sequence[int]:
        """The closed panes that have samples, ascending."""
        return self._slots

    def first_filled(self, slot: int) -> int | None:
        """The oldest pane with a sample, from `slot` on; None when there is none."""
        at = bisect_left(self._slots, slot)
        if at < len(self._slots):
            return self._slots[at]
        return self.open if self.open is not None and self.open >= slot else None

    def first_counted(self, places: Ints, slots: Ints) -> Ints:
        """The oldest pane with a sample of each of those places, from its own slot on; 0 where there is none."""
        found, left = np.zeros(len(places), np.int64), np.arange(len(places))
        filled = self._slots[bisect_left(self._slots, int(slots.min(initial=self.newest))) :]
        for slot in filled if self.open is None else [*filled, self.open]:
            cells = self._open_cells() if slot == self.open else packing.as_packed(self._closed[slot])
            at = np.searchsorted(cells.places, places[left])
            at[at == len(cells.places)] = 0
            there = (slots[left] <= slot) & bool(len(cells.places))
            if there.any():
                there &= (cells.places[at] == places[left]) & (cells.columns[0][at] > 0)
            found[left[there]], left = slot, left[~there]
            if not len(left):
                break
        return found

    # -- state

    def pack(self) -> list[tuple[int, bytes]]:
        """The panes that changed since this was last called, oldest first, each as bytes for the state."""
        packed = []
        for slot in sorted(self._dirty):
            if slot == self.open:
                packed.append((slot, packing.pack(self._open_cells())))
            elif slot in self._closed:  # else it was let go meanwhile
                packed.append((slot, self._closed[slot]))
        self._dirty.clear()
        return packed

    def unpack(self, slot: int, packed: bytes) -> None:
        """Put back a pane as :meth:`pack` gave it; one that is too old is left out.

        Of one from before the extremes were asked for, they are unknown; where they are asked for no more, they go.
        """
        self._advance(slot)
        self.close()
        if slot >= self.oldest:
            if slot not in self._closed:
                insort(self._slots, slot)
            self._closed[slot] = packing.fitted(packed, self.fields)

    def touch(self, slot: int) -> None:
        """Let a pane be packed with those that changed."""
        self._dirty.add(slot)
