"""Keeping: every sample of the stored history beside the panes, to say of all windows how many the fullest ever held.

Windows are looked at now and then, which misses what comes and goes between two looks; samples are not missed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from self_healing.clock import SECOND_US
from self_healing.measures import COARSE_US, FINE_US, Bools, Ints, Measure, pane_us_of
from self_healing.spec import MAX_GROUPS, Baseline, RateOfChange, TriggerSpec
from self_healing.telemetry.samples import Joining
from self_healing.telemetry.table import PaneTable
from self_healing.telemetry.telemetry import Telemetry


class Keeping(Telemetry):
    """Telemetry that remembers where and when each sample was.

    Args:
        triggers, max_groups: as for :class:`Telemetry`.
    """

    def __init__(self, triggers: Iterable[TriggerSpec], *, max_groups: int = MAX_GROUPS) -> None:
        super().__init__(triggers, max_groups=max_groups)
        self._kept: dict[str, list[tuple[Ints, Ints, Ints]]] = {}

    def _join(self, table: PaneTable, samples: Joining, listening: set[str]) -> None:
        super()._join(table, samples, listening)
        if len(samples.at):
            self._kept.setdefault(table.measure.key, []).append((samples.places, samples.ts, samples.count))

    def most(self, trigger: TriggerSpec, grid_us: int, end_us: int) -> tuple[int, int]:
        """The most samples that a window of a trigger held at any instant, and what windows are compared with did.

        Args:
            grid_us: of the instants.
            end_us: the last of them, microseconds.
        """
        kept = self._kept.get(Measure.of(trigger).key)
        if kept is None:
            return 0, 0
        places, ts, count = (np.concatenate(column) for column in zip(*kept, strict=True))
        stretches = _Stretches(places, ts, count)
        condition, window_us = trigger.condition, trigger.window * SECOND_US
        if isinstance(condition, RateOfChange):  # of whole panes, of which the earlier window has those of the later
            at = (ts // FINE_US + 1) * FINE_US
            later, earlier = at <= end_us, at + window_us <= end_us
            return stretches.most(at - window_us, at, later), stretches.most(at - window_us, at, earlier)
        # It is fullest right as a sample comes, and what lies before it as one goes over.
        pane_us, at = pane_us_of(window_us), -(-ts // grid_us) * grid_us
        held = stretches.most((at - window_us) // pane_us * pane_us, at + 1, at <= end_us)
        if not isinstance(condition, Baseline):
            return held, 0
        until = (ts // pane_us + 1) * pane_us
        first = (until - condition.over * SECOND_US) // COARSE_US * COARSE_US
        return held, stretches.most(first, until, until + window_us <= end_us)


class _Stretches:
    """The samples of one measure in the order of their groups and times; how many lie in a stretch of each's group."""

    def __init__(self, places: Ints, ts: Ints, count: Ints) -> None:
        self._places, self._first_us = places, int(ts.min())
        self._width = int(ts.max()) - self._first_us + 2
        order = np.argsort(self._key(ts), kind="stable")
        self._keys = self._key(ts)[order]
        self._total = np.concatenate([[0], np.cumsum(count[order])])

    def _key(self, us: Ints) -> Ints:
        keys: Ints = self._places * self._width + np.clip(us - self._first_us, 0, self._width - 1)
        return keys

    def most(self, from_us: Ints, until_us: Ints, of: Bools) -> int:
        """The most that lie in one of these stretches, one a sample, until, and not including, `until_us`."""
        start, end = (np.searchsorted(self._keys, self._key(us)) for us in (from_us, until_us))
        return int((self._total[end] - self._total[start])[of].max(initial=0))
