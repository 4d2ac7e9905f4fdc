"""Latecomers: events whose samples find no pane any more."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from self_healing.measures import Ints
from self_healing.model import Event
from self_healing.telemetry.table import PaneTable

TOO_LATE = "too_late"
"""Why an event was dropped: all panes that its samples could have joined are gone."""


class Latecomers:
    """Finds, while a batch is folded, the events that are too late.

    Only panes that were let go of before the batch count. So history that comes in order is never too late, however
    it is cut into batches.

    Args:
        tables: all that are kept.
        first_us: the time of the oldest event of the batch, microseconds.
    """

    def __init__(self, tables: Iterable[PaneTable], first_us: int) -> None:
        self._oldest_us = {table.measure.key: table.oldest_us for table in tables}
        self._old_us = max(self._oldest_us.values(), default=first_us)
        self._any = first_us < self._old_us  # else, as nearly always, there is nothing to look at
        self._joined: set[int] = set()
        self._homeless: set[int] = set()

    def see(self, table: PaneTable, events: list[Event], at: Ints, ts: Ints) -> None:
        """Samples go into a table: `ts` of each, and in `at` the place of its event in `events`."""
        if not self._any:
            return
        oldest_us = self._oldest_us[table.measure.key]
        old = np.flatnonzero(ts < self._old_us)
        for row, ts_us in zip(at[old].tolist(), ts[old].tolist(), strict=True):
            (self._joined if ts_us >= oldest_us else self._homeless).add(id(events[row]))

    @property
    def too_late(self) -> int:
        """How many events had samples, none of which joined a pane."""
        return len(self._homeless - self._joined)
