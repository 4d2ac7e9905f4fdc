"""What is worked out once and then kept up: the sums of stretches of panes that move on with time.

Sums are whole numbers, so they roll exactly: a pane that enters is added, one that leaves is subtracted, a late sample
is added wherever its pane lies. An evaluation then costs what the groups cost, however many panes and events a window
holds. Extremes cannot be taken back: see :mod:`self_healing.telemetry.extremes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from self_healing.measures import COARSE_US, FINE_US, Ints
from self_healing.telemetry.cells import Cells
from self_healing.telemetry.ring import Ring

PER_COARSE = COARSE_US // FINE_US
"""How many fine panes are as long as a coarse one."""

NOTHING = (0, -1)
"""The first and the last slot of no stretch at all."""


class Kept(Protocol):
    """The panes that a stretch is made of."""

    fine: Ring
    coarse: Ring | None


class Sums:
    """The sums of a stretch of closed panes.

    Args:
        kept: the panes.
        columns: how many of a cell's columns are sums; they come first.
        coarse: whether the stretch begins where a coarse pane does.
    """

    def __init__(self, kept: Kept, columns: int, *, coarse: bool) -> None:
        self._kept = kept
        self._coarse = coarse
        self.first, self.last = NOTHING
        self.version = 0  # grows when the sums change
        self.sums: list[Ints] = [np.zeros(0, np.int64) for _ in range(columns)]

    def move(self, first: int, last: int, width: int) -> None:
        """Let it be the slots `first` to `last`, with room for `width` groups."""
        self._widen(width)
        if first > last:
            first, last = NOTHING
        if (first, last) == (self.first, self.last):
            return
        if not self._moves_on(first, last):
            self._anew(first, last)
            return
        if self._coarse and self._kept.coarse is not None:
            per = PER_COARSE
            self._put(self._kept.coarse.between(self.first // per, first // per - 1), np.subtract)
        else:
            self._put(self._kept.fine.between(self.first, first - 1), np.subtract)
        self._put(self._kept.fine.between(self.last + 1, last), np.add)
        self.first, self.last = first, last

    def _moves_on(self, first: int, last: int) -> bool:
        """Whether what leaves and what enters are still there, and are less than what stays."""
        if not self.first <= first <= self.last + 1 or last < self.last:
            return False
        if last - self.last > last - first:
            return False
        oldest = self._kept.fine.oldest
        if self._coarse and self._kept.coarse is not None:
            return self.first // PER_COARSE >= self._kept.coarse.oldest and self.last + 1 >= oldest
        return self.first >= oldest

    def _anew(self, first: int, last: int) -> None:
        for total in self.sums:
            total[:] = 0
        self.first, self.last = first, last
        self.version += 1
        self._put(stretch(self._kept, first, last, coarse=self._coarse), np.add)

    def _put(self, panes: Iterable[Cells], how: np.ufunc) -> None:
        for cells in panes:
            self.version += 1
            for total, column in zip(self.sums, cells.columns, strict=False):  # the extremes are no sums
                cells.join(how, total, column)

    def late(self, slot: int, cells: Cells) -> None:
        """Take in what joined the closed pane `slot`."""
        if self.first <= slot <= self.last:
            self._widen(int(cells.places[-1]) + 1)
            self._put([cells], np.add)

    def forget(self) -> None:
        """Work it out anew the next time."""
        self.version += 1
        for total in self.sums:
            total[:] = 0
        self.first, self.last = NOTHING

    def _widen(self, width: int) -> None:
        short = width - len(self.sums[0])
        if short > 0:
            self.sums = [np.concatenate([total, np.zeros(short, np.int64)]) for total in self.sums]


def stretch(kept: Kept, first: int, last: int, *, coarse: bool) -> Iterable[Cells]:
    """The closed panes of the slots `first` to `last`, as few as there are, the newest first."""
    if first > last:
        return
    if not coarse or kept.coarse is None:
        yield from kept.fine.between(first, last)
        return
    until = (last + 1) // PER_COARSE
    yield from kept.fine.between(until * PER_COARSE, last)
    yield from kept.coarse.between(first // PER_COARSE, until - 1)
