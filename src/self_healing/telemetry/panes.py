"""Panes: the mergeable aggregates of one measure.

Two rings hold them: 10 s panes for the last hour, and 15-minute panes for what reaches further back. Every sample goes
into both, so a coarse pane is at any moment what merging its fine ones would give, and merging is a sum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby

import numpy as np

from self_healing.clock import HOUR_US, MINUTE_US
from self_healing.measures import COARSE_US, FINE_US, Ints, begins_us
from self_healing.telemetry.cells import EXTREMES, Cells, Field, Places, pack
from self_healing.telemetry.extremes import Extremes
from self_healing.telemetry.ring import Ring
from self_healing.telemetry.rolling import PER_COARSE, Sums

AHEAD_US = 5 * MINUTE_US
"""How far beyond now an event may lie; further is quarantined, so no pane is ever needed beyond that."""


@dataclass(slots=True)
class Answer:
    """What was last said of a window or a baseline, and what it was made from: the same again is the same object."""

    sums: Sums
    extremes: Extremes | None = None
    made_from: tuple[int, ...] = ()
    columns: list[Ints] = field(default_factory=list)


class Panes:
    """Panes of some fields, and what is asked of them over and over.

    Args:
        fields: of a cell: sums, and maximum and minimum behind them where extremes are kept.
        window_us: how far back the longest window reaches.
        baseline_us: how far back baselines reach behind their windows; 0 when nothing asks for one.
        extremes: the lengths of the windows whose extremes are asked for, microseconds.
        changes_us: the length of the longest window that is compared with the one before; 0 when none is.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        window_us: int,
        baseline_us: int,
        extremes: Collection[int] = (),
        *,
        changes_us: int = 0,
    ) -> None:
        self.fields = tuple(fields)
        self.version = 0
        long = window_us > HOUR_US
        # What begins with coarse panes ends inside one, so fine ones must reach a coarse pane further back.
        back_us = min(window_us, HOUR_US) + (COARSE_US if long or baseline_us else 0) + AHEAD_US
        back_us = max(back_us, 2 * changes_us + AHEAD_US)
        self.fine = Ring(FINE_US, back_us // FINE_US + 2, fields)
        self._sums = sum(each not in EXTREMES for each in fields)
        self.coarse: Ring | None = None
        if long or baseline_us:
            rows = (window_us + baseline_us + AHEAD_US) // COARSE_US + 3
            self.coarse = Ring(COARSE_US, rows, fields if long else fields[: self._sums])
        self._first_heard: tuple[tuple[int, int, bytes, bytes], Ints] | None = None
        self._windows: dict[int, Answer] = {}
        self._baselines: dict[tuple[int, int], Answer] = {}
        self._successive: dict[tuple[int, bool], Answer] = {}  # by length, and whether it is the later one
        self._extreme_windows = frozenset(extremes)

    @property
    def rings(self) -> list[Ring]:
        """The rings that are kept."""
        return [self.fine] if self.coarse is None else [self.fine, self.coarse]

    # -- samples in

    def add(self, ts: Ints, places: Places, columns: Sequence[Ints]) -> None:
        """Put samples into their panes; a column a field, an element a sample."""
        if not len(ts):
            return
        self.version += 1
        slots = ts // FINE_US
        late = self.fine.add(slots, places, columns)
        if self.coarse is not None:
            if self.fine.open is not None:  # what is made of closed fine panes finds closed coarse ones beside them
                self.coarse.reopen()
            self.coarse.add(slots // PER_COARSE, places, columns[: len(self.coarse.fields)])
        for slot, cells in late:
            self._late(slot, cells)
        if self.coarse is not None and int(slots.min()) < self.fine.oldest:
            for answer in self._answers():
                answer.sums.forget()
                if answer.extremes is not None:
                    answer.extremes.forget()

    def _answers(self) -> Iterable[Answer]:
        return chain(self._windows.values(), self._baselines.values(), self._successive.values())

    def _late(self, slot: int, cells: Cells) -> None:
        for answer in self._answers():
            answer.sums.late(slot, cells)
            if answer.extremes is not None:
                answer.extremes.late(slot, cells)

    def _answer(self, window_us: int, *, coarse: bool) -> Answer:
        """A new one, of a window of that length."""
        extremes = Extremes(self, coarse=coarse) if window_us in self._extreme_windows else None
        return Answer(Sums(self, self._sums, coarse=coarse), extremes)

    def coarsen(self) -> None:
        """Make coarse panes of the fine ones that were put back, where those are from before coarse ones were kept.

        A coarse one of which the extremes are unknown is made anew where the fine ones are all that it was made of.
        """
        if self.coarse is None:
            return
        for slot, slots in groupby(self.fine.closed(), lambda fine: fine // PER_COARSE):
            known = self.coarse.cells(slot)
            if known is not None and not known.lack(self.coarse.fields):
                continue
            cells = [each for each in map(self.fine.cells, slots) if each is not None]
            columns = [np.concatenate(same) for same in zip(*(each.columns for each in cells), strict=True)]
            places = np.concatenate([each.places for each in cells])
            made = Cells.gathered(self.coarse.fields, places, columns[: len(self.coarse.fields)])
            if known is None or made.sums_as(known, self._sums):
                self.coarse.unpack(slot, pack(made))
                self.coarse.touch(slot)

    # -- questions

    def window(self, window_us: int, t_us: int, groups: int) -> list[Ints]:
        """The merged panes of a window at `t_us`, a column a field, an element a group; extremes where asked."""
        first, last = begins_us(window_us, t_us) // FINE_US, t_us // FINE_US
        answer = self._windows.get(window_us)
        if answer is None:
            answer = self._windows[window_us] = self._answer(window_us, coarse=window_us > HOUR_US)
        made_from = (first, last, groups, self.version)
        if made_from == answer.made_from:
            return answer.columns
        closed = min(last, self.fine.newest_closed)
        answer.sums.move(first, closed, groups)
        columns = [total[:groups].copy() for total in answer.sums.sums]
        if answer.extremes is not None:
            columns += answer.extremes.of(first, closed, groups)
        if self.fine.open is not None and first <= self.fine.open <= last:
            for each, column, opened in zip(self.fields, columns, self.fine.opened, strict=False):
                known = opened[:groups]
                each.merge(column[: len(known)], known, out=column[: len(known)])
        answer.made_from, answer.columns = made_from, columns
        return columns

    def baseline(self, window_us: int, over_us: int, t_us: int, groups: int) -> list[Ints]:
        """The merged sums of the `over_us` before a window at `t_us`, from the coarse pane in which they begin."""
        first = (t_us - window_us - over_us) // COARSE_US * PER_COARSE
        last = begins_us(window_us, t_us) // FINE_US - 1
        answer = self._baselines.get((window_us, over_us))
        if answer is None:
            answer = self._baselines[window_us, over_us] = Answer(Sums(self, self._sums, coarse=True))
        self._close(last)
        answer.sums.move(first, min(last, self.fine.newest_closed), groups)
        made_from = (groups, answer.sums.version)
        if made_from != answer.made_from:
            answer.made_from, answer.columns = made_from, [total[:groups].copy() for total in answer.sums.sums]
        return answer.columns

    def successive(self, window_us: int, t_us: int, groups: int) -> tuple[list[Ints], list[Ints]]:
        """The merged panes of two windows, the later up to the pane that holds `t_us`, and the one right before it."""
        last, length = t_us // FINE_US - 1, window_us // FINE_US
        self._close(last)
        later = self._stretch(window_us, last - length + 1, last, groups, later=True)
        return later, self._stretch(window_us, last - 2 * length + 1, last - length, groups, later=False)

    def _stretch(self, window_us: int, first: int, last: int, groups: int, *, later: bool) -> list[Ints]:
        answer = self._successive.get((window_us, later))
        if answer is None:
            answer = self._successive[window_us, later] = self._answer(window_us, coarse=False)
        last = min(last, self.fine.newest_closed)
        answer.sums.move(first, last, groups)
        made_from = (groups, answer.sums.version)
        if made_from != answer.made_from:
            answer.made_from, answer.columns = made_from, [total[:groups].copy() for total in answer.sums.sums]
            if answer.extremes is not None:
                answer.columns += answer.extremes.of(first, last, groups)
        return answer.columns

    def _close(self, last: int) -> None:
        """Close the newest pane if it is the slot `last` or older, so that nothing is under way up to there."""
        if self.fine.newest <= last:
            for ring in self.rings:
                ring.close()

    def single(self, places: Places, first: Ints, last: Ints) -> list[Ints]:
        """The sums of single groups over stretches of their own; each begins with a coarse pane.

        Args:
            places: of the groups, one a stretch.
            first, last: fine slots.
        """
        sums = [np.zeros(len(places), np.int64) for _ in range(self._sums)]
        whole_from, whole_until = first // PER_COARSE, (last + 1) // PER_COARSE
        ends = [np.arange(until * PER_COARSE, end + 1) for until, end in zip(whole_until, last, strict=True)]
        for ring, slots, begin, end in (
            (self.coarse, range(int(whole_from.min()), int(whole_until.max())), whole_from, whole_until - 1),
            (self.fine, np.unique(np.concatenate(ends)).tolist(), whole_until * PER_COARSE, last),
        ):
            for slot in slots:
                cells = None if ring is None else ring.cells(slot)
                if cells is not None and len(cells.places):
                    wanted = np.flatnonzero((begin <= slot) & (slot <= end))
                    _look_up(cells, places, wanted, sums)
        return sums

    def course(self, t_us: int, place: int | None) -> tuple[Ints, Ints]:
        """Count and amount of each fine pane of the hour up to `t_us`, the oldest first; of one group, or of all."""
        slots = HOUR_US // FINE_US
        first = t_us // FINE_US - slots + 1
        count, amount = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        for row in range(slots):
            cells = self.fine.cells(first + row)
            if cells is not None:
                here = slice(None) if place is None else cells.places == place
                count[row], amount[row] = (int(column[here].sum()) for column in cells.columns[:2])
        return count, amount

    def first_sampled_us(self, from_us: int) -> int | None:
        """When the oldest pane with a sample begins, from the one that holds `from_us` on; None when there is none."""
        reaches = self.coarse is None or from_us // FINE_US >= self.fine.oldest
        ring = self.fine if reaches or self.coarse is None else self.coarse
        slot = ring.first_filled(max(from_us // ring.pane_us, 0))
        return None if slot is None else slot * ring.pane_us

    def first_heard_us(self, places: Ints, from_us: Ints, pane_us: int) -> Ints:
        """When the first pane of that length with a sample of each place begins, from its `from_us` on; 0 for none."""
        asked = (self.version, pane_us, places.tobytes(), from_us.tobytes())
        if self._first_heard is None or self._first_heard[0] != asked:  # many triggers ask of the same groups at once
            ring = self.fine if self.coarse is None or pane_us == FINE_US else self.coarse
            self._first_heard = asked, ring.first_counted(places, from_us // ring.pane_us) * ring.pane_us
        return self._first_heard[1].copy()


def _look_up(cells: Cells, places: Places, wanted: Places, sums: list[Ints]) -> None:
    """Add what `cells` have of the wanted ones of those places."""
    at = np.minimum(np.searchsorted(cells.places, places[wanted]), len(cells.places) - 1)
    there = cells.places[at] == places[wanted]
    for total, column in zip(sums, cells.columns, strict=False):
        total[wanted[there]] += column[at[there]]
