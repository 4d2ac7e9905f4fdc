"""Histograms by group, in panes: kept only for what some trigger asks a quantile of.

They are panes like any other, of a single figure, the count, and with a place for each bucket of each group that was
ever filled. So they roll, take in what comes late, and are stored as panes do and are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from self_healing.histograms import CODES, Histograms, buckets_of
from self_healing.measures import Ints
from self_healing.telemetry import cells as packing
from self_healing.telemetry.cells import COUNT, Cells, Places
from self_healing.telemetry.panes import Panes
from self_healing.telemetry.ring import Ring

BUCKETS = " buckets"
"""Comes behind the key of a measure in the name under which its histograms are stored."""


class Buckets:
    """The histograms of one measure.

    Args:
        window_us: how far back the longest window reaches of which a quantile is asked, microseconds.
        changes_us: the same for windows that are compared with the one before; 0 when none is.
    """

    def __init__(self, window_us: int, changes_us: int = 0) -> None:
        self.panes = Panes((COUNT,), window_us, 0, changes_us=changes_us)
        self._keys = np.zeros(0, np.int64)  # group and bucket of each place, ascending
        self._places = np.zeros(0, np.intp)  # the place of each
        self._said: dict[tuple[int, str], tuple[list[Ints], int, Histograms]] = {}

    def add(self, ts: Ints, groups: Ints, codes: Ints, count: Ints) -> None:
        """Put samples into their panes: so many of that group in the bucket of that code, at that time."""
        some = count != 0  # below 0 is what was counted wrongly
        if some.any():
            places = self._places_of((groups * CODES + codes)[some])
            self.panes.add(ts[some], places, [count[some]])

    def add_amounts(self, ts: Ints, groups: Ints, count: Ints, amount: Ints) -> None:
        """Put samples into their panes, by how much each is, in millionths."""
        self.add(ts, groups, buckets_of(amount), count)

    def _places_of(self, keys: Ints) -> Places:
        """The place of each group's bucket; new ones are made."""
        new = np.setdiff1d(keys, self._keys)
        if len(new):
            at = np.searchsorted(self._keys, new)
            known = len(self._keys)
            self._keys = np.insert(self._keys, at, new)
            self._places = np.insert(self._places, at, np.arange(known, known + len(new)))
        return self._places[np.searchsorted(self._keys, keys)]

    def window(self, window_us: int, t_us: int, groups: int) -> Histograms:
        """The merged histograms of a window at `t_us`, one a group."""
        return self._merged((window_us, "window"), self.panes.window(window_us, t_us, len(self._keys)), groups)

    def successive(self, window_us: int, t_us: int, groups: int) -> tuple[Histograms, Histograms]:
        """The same of two windows, the later up to the pane that holds `t_us`, and the one right before it."""
        later, earlier = self.panes.successive(window_us, t_us, len(self._keys))
        return self._merged((window_us, "later"), later, groups), self._merged((window_us, "earlier"), earlier, groups)

    def _merged(self, asked: tuple[int, str], columns: list[Ints], groups: int) -> Histograms:
        said = self._said.get(asked)
        if said is None or said[0] is not columns or said[1] != groups:
            counts = columns[0][self._places]
            filled = np.flatnonzero(counts)
            keys = self._keys[filled]
            starts = np.searchsorted(keys, np.arange(groups + 1) * CODES)
            said = self._said[asked] = (columns, groups, Histograms(starts, keys % CODES, counts[filled]))
        return said[2]

    # -- state: by group and bucket, since places are others in another life

    def pack(self, ring: Ring) -> Iterator[tuple[int, bytes]]:
        """The panes of `ring` that changed, as bytes for the state."""
        keys = np.empty(len(self._keys), np.int64)
        keys[self._places] = self._keys
        for slot, packed in ring.pack():
            cells = packing.unpack(packed)
            yield slot, packing.pack(Cells.gathered((COUNT,), keys[cells.places], cells.columns))

    def unpack(self, ring: Ring, slot: int, packed: bytes) -> None:
        """Put back a pane as :meth:`pack` gave it."""
        cells = packing.unpack(packed)
        ring.unpack(slot, packing.pack(Cells.gathered((COUNT,), self._places_of(cells.places), cells.columns)))
