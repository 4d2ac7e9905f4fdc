"""Signs of life: when each group was last heard of, for the triggers that ask whether it fell silent.

Nothing is kept, and nothing looked at, that no trigger asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from self_healing.measures import Ints, Measure
from self_healing.model import Event
from self_healing.telemetry.groups import Grouping
from self_healing.telemetry.samples import matches


class Signs:
    """The newest event of each group.

    Args:
        measure: which events, and by what they are grouped.
        grouping: the groups and their places.
    """

    def __init__(self, measure: Measure, grouping: Grouping) -> None:
        self.measure = measure
        self._grouping = grouping
        self._last_us = np.zeros(0, np.int64)
        self.log: list[tuple[Ints, Ints, bool]] | None = None
        """Hears of every sign, where somebody asks: whose each is, when it was, and whether all of them are excuses."""

    @property
    def last_us(self) -> Ints:
        """When each group was last heard of, microseconds; 0 where it never was. Never changed once it is given out."""
        missing = len(self._grouping.groups) - len(self._last_us)
        if missing > 0:
            self._last_us = np.concatenate([self._last_us, np.zeros(missing, np.int64)])
        return self._last_us

    def see(self, events: Sequence[Event], ts: Ints) -> tuple[Ints, Ints]:
        """Take in events; returns the places of their groups, and when each was.

        Of an event that does not say of which group it is, nobody can tell who is alive.
        """
        if self.measure.where:
            kept = [row for row, event in enumerate(events) if matches(event, self.measure.where)]
            events, ts = [events[row] for row in kept], ts[kept]
        places = self._grouping.places(events)
        unnamed = self._grouping.unnamed
        if unnamed:
            named = ~np.isin(places, list(unnamed))
            places, ts = places[named], ts[named]
        if len(places):
            last_us = self.last_us.copy()
            np.maximum.at(last_us, places, ts)
            self._last_us = last_us
            self._log(places, ts, excuses=False)
        return places, ts

    def _log(self, places: Ints, ts: Ints, *, excuses: bool) -> None:
        if self.log is not None:
            self.log.append((places, ts, excuses))

    def excuse(self, events: Iterable[tuple[Event, int]]) -> None:
        """Take in repair work, with its times: who does it is alive, and need not do anything else to be so."""
        last_us = self.last_us.copy()
        excused = []
        for event, at in events:
            place = self._grouping.find(event)
            if place is not None and place < len(last_us) and last_us[place] and matches(event, self.measure.where):
                last_us[place] = max(int(last_us[place]), at)
                excused.append((place, at))
        self._last_us = last_us
        if excused:
            places, ts = np.array(excused, np.int64).T
            self._log(places, ts, excuses=True)

    def forget(self, places: Ints) -> None:
        """Others come to these places."""
        last_us = self.last_us.copy()
        last_us[places] = 0
        self._last_us = last_us

    def pack(self) -> bytes:
        """All of it, for the state."""
        return self._last_us.tobytes()

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        self._last_us = np.frombuffer(packed, np.int64)
