"""Moving: what is known by places goes on when a limit of groups changed, wherever each group stands by the new one.

A measure with its own limit has a grouping of its own, in which a group stands elsewhere than in others. So what is
stored by place goes, by the group's name, to where that stands now. Whoever had a place has one, however many are kept
apart by now: a smaller limit holds for those that come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from self_healing.histograms import CODES
from self_healing.measures import Grouped, Ints, Measure
from self_healing.model import Group
from self_healing.telemetry import cells as packing
from self_healing.telemetry.buckets import BUCKETS
from self_healing.telemetry.cells import COUNT, EXTREMES, SUMS, Cells, Places
from self_healing.telemetry.groups import Grouping, Name, name_of

Row = tuple[str, int, int, bytes]
"""A stored pane: of which name, its length in seconds, its slot, and what is in it."""


class Move:
    """The way of a measure from the grouping that it had into the one that it has now.

    Args:
        before: the measure as it was.
        after: the same within another limit.
        groups: those that it had, each in its place.
        grouping: the one that it has now.
    """

    def __init__(self, before: Measure, after: Measure, groups: Sequence[Group], grouping: Grouping) -> None:
        self.before = before
        self.after = after
        self._groups = groups
        self._grouping = grouping

    def place(self, before: int) -> int:
        """Where the group stands now that stood at `before`."""
        return self._grouping.keep(self._groups[before])

    def places(self, before: Places) -> Places:
        """The same for several groups."""
        found, back = np.unique(before, return_inverse=True)
        now = np.array([self.place(place) for place in found.tolist()], np.intp)
        moved: Places = now[back]
        return moved

    def by_place(self, before: Ints) -> Ints:
        """A column that has an element a place, 0 for nothing, as it is by the places of now."""
        some = np.flatnonzero(before)
        places = self.places(some)
        column = np.zeros(len(self._grouping.groups), np.int64)
        column[places] = before[some]
        return column

    def pane(self, packed: bytes) -> bytes:
        """A stored pane."""
        cells = packing.unpack(packed)
        fields = (*SUMS, *EXTREMES)[: len(cells.columns)]
        return packing.pack(Cells.gathered(fields, self.places(cells.places), cells.columns))

    def buckets(self, packed: bytes) -> bytes:
        """A stored pane of histograms, whose places are those of the buckets of the groups."""
        cells = packing.unpack(packed)
        groups, codes = np.divmod(cells.places, CODES)
        return packing.pack(Cells.gathered((COUNT,), self.places(groups) * CODES + codes, cells.columns))


def moves(
    before: Mapping[str, Measure],
    after: Mapping[str, Measure],
    groups: Mapping[Name, Sequence[Group]],
    groupings: Mapping[Grouped, Grouping],
) -> dict[str, Move]:
    """The way of each trigger's measure of which nothing but the limit of its groups has changed.

    Args:
        before: what each trigger measured, by its name.
        after: what each measures now.
        groups: those that each grouping had.
        groupings: those that there are now.
    """
    ways: dict[tuple[Measure, Measure], Move] = {}
    found = {}
    for name, measure in after.items():
        was = before.get(name, measure)
        if was != measure and was.unlimited == measure.unlimited:
            way = Move(was, measure, groups[name_of(was.grouped)], groupings[measure.grouped])
            found[name] = ways.setdefault((was, measure), way)
    return found


def widest(ways: Iterable[Move]) -> list[Move]:
    """Each way once, those first from where most groups were kept apart."""
    found = {(way.before, way.after): way for way in ways}.values()
    return sorted(found, key=lambda way: math.inf if way.before.most is None else way.before.most, reverse=True)


def moved(rows: Sequence[Row], ways: Iterable[Move]) -> Iterator[Row]:
    """The stored panes of measures that had another limit, as they are now.

    What the state has of a measure already is that of another trigger, and stays.

    Args:
        rows: all that are stored.
        ways: of the measures, in the order in which they are asked.
    """
    there = {_ring(*row) for row in rows}
    for way, suffix in product(ways, ("", BUCKETS)):
        name = way.after.key + suffix
        own = [row for row in rows if row[0] == way.before.key + suffix]
        new = [row for row in own if _ring(name, *row[1:]) not in there]
        there |= {_ring(name, *row[1:]) for row in new}
        for _, level, slot, packed in new:
            yield name, level, slot, way.buckets(packed) if suffix else way.pane(packed)


def _ring(key: str, level: int, _slot: int, packed: bytes) -> tuple[str, int, int]:
    return key, level, packing.width_of(packed)
