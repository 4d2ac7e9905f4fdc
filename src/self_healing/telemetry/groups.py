"""Groups: the values of some columns that events have shown, each with its place in all that is kept in columns.

What is kept a group must not grow with whatever senders put into a column. So only so many groups are kept apart; what
comes of any further one joins the group of the overflow, and nothing is remembered of its values. Totals over all
groups stay right that way. Places of groups that were forgotten are given to new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from self_healing.measures import Grouped, Ints, Measure
from self_healing.model import OVERFLOW, UNKNOWN_VALUE, Event, Group
from self_healing.spec import MAX_GROUPS
from self_healing.telemetry.columns import getter, harmless

BY_AGENT = ("agent",)
"""How nearly every trigger groups, and the way that is made quick."""

NOBODY: Group = ()
"""What stands in the place of a group that was forgotten."""

Name = tuple[str, ...] | str


def name_of(grouped: Grouped) -> Name:
    """What a grouping is called in the state: its columns, or the key of the one measure that has it."""
    return grouped.key if isinstance(grouped, Measure) else grouped


class Grouping:
    """The groups that one ``group_by`` shows; each keeps its place until it is forgotten.

    Args:
        group_by: columns of an event, and attributes.
        most: how many are kept apart; the group of the overflow comes on top.
        beside: another one that gets whatever group this one has, the overflow's too.
    """

    def __init__(self, group_by: tuple[str, ...], most: int = MAX_GROUPS, beside: Grouping | None = None) -> None:
        self.group_by = group_by
        self.groups: list[Group] = []
        self.unnamed: set[int] = set()  # the places of the groups of which some value is unknown
        self.most = most
        self._beside = beside
        self._place: dict[tuple[str | None, ...], int] = {}
        self._free: list[int] = []
        self._values = [getter(column) for column in group_by]
        self._overflow = (OVERFLOW,) * len(group_by)

    def __len__(self) -> int:
        return len(self.groups) - len(self._free)

    @property
    def _full(self) -> bool:
        """Whether as many groups are kept apart as may be; that of the overflow is none of them."""
        return len(self) - (self._overflow in self._place) >= self.most

    @property
    def overflows(self) -> bool:
        """Whether there are more groups than are kept apart."""
        return self._overflow in self._place and self._full

    def hangs_on_order(self, events: Sequence[Event]) -> bool:
        """Whether it may hang on the order of `events` which of their groups are kept apart."""
        room = self.most - len(self) + (self._overflow in self._place)
        if not 0 < room <= len(events):  # where there is none, whatever is new overflows
            return False
        if len(self._values) == 1:  # as nearly always, and to make a tuple of each takes twice as long
            met = set(zip(set(map(self._values[0], events)), strict=True))
        else:
            met = set(zip(*(map(value, events) for value in self._values), strict=True))
        return len(met - self._place.keys()) >= room  # in the last of them what overflows elsewhere may stand

    def add(self, values: tuple[str | None, ...]) -> int:
        """The place of the group with these values: a new one where it was never seen, or that of the overflow."""
        place = self._place.get(values)
        return self._newcomer(values) if place is None else place

    def _newcomer(self, values: tuple[str | None, ...]) -> int:
        told = map(harmless, self.group_by, values)
        named = tuple(UNKNOWN_VALUE if value is None else value for value in told)
        if named not in self._place:
            if self._full:
                return self._settle(self._overflow)
            self._settle(named)
        place = self._place[values] = self._place[named]
        return place

    def keep(self, group: Group) -> int:
        """The place of a group that is kept apart, however many are."""
        return self._settle(tuple(value for _, value in group))

    def _settle(self, named: tuple[str, ...]) -> int:
        place = self._place.get(named)
        if place is None:
            group = tuple(zip(self.group_by, named, strict=True))
            if self._free:
                place = self._free.pop()
                self.groups[place] = group
            else:
                place = len(self.groups)
                self.groups.append(group)
            self._place[named] = place
            self._learn(place, named)
            if self._beside is not None:
                self._beside.add(named)
        return place

    def _learn(self, place: int, named: tuple[str | None, ...]) -> None:
        if UNKNOWN_VALUE in named:
            self.unnamed.add(place)

    def is_overflow(self, place: int) -> bool:
        """Whether that is the place of the overflow."""
        return place == self._place.get(self._overflow)

    def place(self, group: Group) -> int | None:
        """Where `group` stands, None when nobody knows it."""
        return self._place.get(tuple([value for _, value in group]))

    def place_of(self, event: Event) -> int:
        """The place of an event's group, as :meth:`add` finds it."""
        return self.add(tuple([value(event) for value in self._values]))

    def find(self, event: Event) -> int | None:
        """The place of an event's group; None for one that would be new. Nothing is added."""
        place = self._place.get(tuple([value(event) for value in self._values]))
        return self._place.get(self._overflow) if place is None and self._full else place

    def places(self, events: Sequence[Event]) -> Ints:
        """The place of each event's group; new groups are added."""
        columns = [map(value, events) for value in self._values]
        values = list(zip(*columns, strict=True)) if columns else [()] * len(events)  # one group is of all
        known = list(map(self._place.get, values))  # as nearly all are, and to ask one by one takes thrice as long
        if None in known:
            known = list(map(self.add, values))
        return np.fromiter(known, np.int64, len(values))

    def forget(self, places: Iterable[int]) -> None:
        """Give the places of these groups to others that come; nothing may be left there."""
        gone = {place for place in places if self.groups[place] != NOBODY}
        for place in gone:
            self.groups[place] = NOBODY
        self.unnamed -= gone
        self._free += sorted(gone, reverse=True)
        self._place = {values: place for values, place in self._place.items() if place not in gone}

    def restore(self, groups: Sequence[Group]) -> None:
        """Put back the groups of another life, each in its place, however many are kept apart now."""
        self.groups = list(groups)
        self._place = {tuple(value for _, value in group): at for at, group in enumerate(groups) if group != NOBODY}
        for named, place in self._place.items():
            self._learn(place, named)
        self._free = [at for at in range(len(groups) - 1, -1, -1) if groups[at] == NOBODY]
