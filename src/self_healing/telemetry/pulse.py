"""The pulse: what the whole fleet did lately, whatever its triggers look at."""

from __future__ import annotations

from typing import Final

import numpy as np

from self_healing.clock import HOUR_US
from self_healing.measures import FINE_US, Ints

SHOWN: Final = HOUR_US // FINE_US
"""So many slices of event time are told at once."""

KEPT: Final = SHOWN + 1
"""So many are remembered, as the newest may be under way yet; what is older is for the stored events to tell."""


class Pulse:
    """Sums of named figures, a slice of event time each, for the newest hour. It is not stored: a start begins anew."""

    def __init__(self) -> None:
        self._slots: dict[str, Ints] = {}  # which slot is in each place
        self._sums: dict[str, Ints] = {}  # a row the count, a row the amount
        self.first_us: int | None = None
        """When the oldest slice begins of which anything was heard, microseconds; before that nothing is known."""

    def add(self, name: str, ts: Ints, count: Ints, amount: Ints) -> None:
        """Add samples; those older than what is remembered are left out.

        Args:
            name: of the figure.
            ts: microseconds.
            count: how many samples each stands for.
            amount: millionths of the unit.
        """
        if not len(ts):
            return
        known = self._slots.setdefault(name, np.full(KEPT, -1, np.int64))
        sums = self._sums.setdefault(name, np.zeros((2, KEPT), np.int64))
        slots = ts // FINE_US
        first_us = int(slots.min()) * FINE_US
        self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
        recent = slots > max(int(known.max()), int(slots.max())) - KEPT
        slots, places = slots[recent], slots[recent] % KEPT
        anew = places[known[places] != slots]
        sums[:, anew] = 0
        known[places] = slots
        np.add.at(sums[0], places, count[recent])
        np.add.at(sums[1], places, amount[recent])

    def course(self, name: str, t_us: int) -> tuple[Ints, Ints]:
        """Count and amount of each slice of the hour up to `t_us`, the oldest first; 0 where nothing came."""
        count, amount = np.zeros(SHOWN, np.int64), np.zeros(SHOWN, np.int64)
        known = self._slots.get(name)
        if known is not None:
            back = t_us // FINE_US - known
            here = np.flatnonzero((known >= 0) & (back >= 0) & (back < SHOWN))
            count[SHOWN - 1 - back[here]] = self._sums[name][0, here]
            amount[SHOWN - 1 - back[here]] = self._sums[name][1, here]
        return count, amount
