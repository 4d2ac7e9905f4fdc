"""The extremes of stretches of panes that move on with time, kept up so that a pane is merged three times and no more.

A maximum cannot be taken back as a sum can. So a stretch is kept in two parts, as a queue of two stacks is. Into the
newer part panes are merged as they close. Of the older one, which panes only leave, the extremes are known from any
pane up to its end; what remains once some have left is there already. When all have left, the newer part becomes the
older one. Extremes that take a number a group are many bytes for each of 360 panes, so they are kept from every so
many panes on, and from each pane on only where the stretch begins.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from self_healing.measures import Ints
from self_healing.telemetry.cells import EXTREMES, SUMS, Cells
from self_healing.telemetry.rolling import NOTHING, PER_COARSE, Kept, stretch

Reaching = tuple[int, list[Ints]]
"""A slot, and the extremes from there up to the end of the older part."""


class Extremes:
    """The extremes of a stretch of closed panes.

    Args:
        kept: the panes.
        coarse: whether the stretch begins where a coarse pane does.
    """

    def __init__(self, kept: Kept, *, coarse: bool) -> None:
        self._kept = kept
        self._coarse = coarse and kept.coarse is not None
        self._step = PER_COARSE if self._coarse else 1
        self.forget()

    def forget(self) -> None:
        """Work it out anew the next time."""
        self._first, self._last = NOTHING
        self._turn = self._last  # the last slot of the older part
        self._marks: list[Reaching] = []  # the newest first
        self._near: list[Reaching] = []  # the same, of each slot between the oldest mark that is left and the first
        self._newer = _none(0)

    def of(self, first: int, last: int, groups: int) -> list[Ints]:
        """Those of the slots `first` to `last`: maximum and minimum of each of so many groups."""
        if first > last:
            return _none(groups)
        if not self._moves_on(first, last):
            self._anew(first, last, groups)
        elif last > self._last:
            self._newer = _widened(self._newer, groups)
            self._merge(self._newer, self._last + 1, last, coarse=False)
        self._first, self._last = first, last
        found = [each[:groups] for each in _widened(self._older(first), groups)]
        for field, into, newer in zip(EXTREMES, found, self._newer, strict=True):
            known = newer[:groups]
            field.merge(into[: len(known)], known, out=into[: len(known)])
        return found

    def _moves_on(self, first: int, last: int) -> bool:
        """Whether some of the older part stays, and what enters is still there."""
        if not self._first <= first <= self._turn or last < self._last:
            return False
        oldest = self._kept.fine.oldest
        if self._coarse and self._kept.coarse is not None:
            return first // PER_COARSE >= self._kept.coarse.oldest and self._last + 1 >= oldest
        return first >= oldest

    def _anew(self, first: int, last: int, groups: int) -> None:
        """Let all of it be the older part."""
        self.forget()
        self._turn = last
        so_far, until = _none(groups), last + 1
        # The newest mark ends what is no whole step; from there on each slot that a stretch can begin with is one.
        marks = range((last + 1) // self._step * self._step, first - 1, -self._step)
        for slot in marks[:: isqrt(len(marks))]:
            self._merge(so_far, slot, until - 1, coarse=self._coarse)
            self._marks.append((slot, [each.copy() for each in so_far]))
            until = slot

    def _older(self, first: int) -> list[Ints]:
        """The extremes of the older part from `first` on."""
        while self._near and self._near[-1][0] < first:
            self._near.pop()
        if not self._near:
            while self._marks[-1][0] < first:
                self._marks.pop()
            slot, so_far = self._marks[-1]
            self._near.append((slot, so_far))
            for nearer in range(slot - self._step, first - 1, -self._step):
                so_far = [each.copy() for each in so_far]
                self._merge(so_far, nearer, nearer + self._step - 1, coarse=self._coarse)
                self._near.append((nearer, so_far))
        return self._near[-1][1]

    def _merge(self, into: list[Ints], first: int, last: int, *, coarse: bool) -> None:
        for cells in stretch(self._kept, first, last, coarse=coarse):
            _join(into, cells)

    def late(self, slot: int, cells: Cells) -> None:
        """Take in what joined the closed pane `slot`."""
        if not self._first <= slot <= self._last:
            return
        groups = int(cells.places[-1]) + 1
        if slot > self._turn:
            self._newer = _widened(self._newer, groups)
            _join(self._newer, cells)
        elif any(groups > len(extremes[0]) for _, extremes in self._marks):
            self.forget()
        else:
            self._near.clear()
            for mark, extremes in self._marks:
                if mark <= slot:
                    _join(extremes, cells)


def _join(into: list[Ints], cells: Cells) -> None:
    for field, extreme, column in zip(EXTREMES, into, cells.columns[len(SUMS) :], strict=True):
        cells.join(field.merge, extreme, column)


def _none(groups: int) -> list[Ints]:
    """The extremes of no samples."""
    return [np.full(groups, field.nothing, np.int64) for field in EXTREMES]


def _widened(extremes: list[Ints], groups: int) -> list[Ints]:
    """A copy with room for so many groups at least."""
    wider = _none(max(groups, len(extremes[0])))
    for into, extreme in zip(wider, extremes, strict=True):
        into[: len(extreme)] = extreme
    return wider
