"""Telemetry of a history: events are folded a stretch ahead, and their samples join the panes when their time comes.

Folding a long stretch at once is ten times as quick as folding it instant by instant. It says which samples there will
be, so that one can see ahead at which instants something happens at all, and look at those alone. What is asked at any
instant of the stretch is answered as if nothing were folded beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from self_healing.measures import Ints, Measure
from self_healing.model import Ingested
from self_healing.spec import MAX_GROUPS, TriggerSpec
from self_healing.telemetry.ages import Ages, Ran, oldest, oldest_since
from self_healing.telemetry.groups import BY_AGENT
from self_healing.telemetry.rows import Flat
from self_healing.telemetry.samples import Joining
from self_healing.telemetry.table import PaneTable
from self_healing.telemetry.telemetry import Telemetry


@dataclass(slots=True)
class Waiting:
    """Samples that are known ahead.

    Args:
        heard_us: when each joins its pane, ascending; later than it happened where a call of a model came late.
        joined: how many of them did.
    """

    table: PaneTable
    samples: Joining
    heard_us: Ints
    joined: int = 0


class Replayed(Telemetry):
    """Telemetry of a history.

    Args:
        triggers, max_groups: as for :class:`Telemetry`.
        grid_us: of the instants that may be looked at.
    """

    def __init__(self, triggers: Iterable[TriggerSpec], *, grid_us: int, max_groups: int = MAX_GROUPS) -> None:
        triggers = list(triggers)
        super().__init__(triggers, max_groups=max_groups)
        self._grid_us = grid_us
        self.flat = {key: Flat.of([t for t in triggers if Measure.of(t).key == key]) for key in self._tables}
        self._ages = Ages(self.tasks, self._groupings[BY_AGENT])
        self._waiting: list[Waiting] = []
        self._gathering = False
        self._gathered_us = 0  # up to when events are folded ahead
        self._t_us = 0  # the instant that is looked at
        self._oldest_at: dict[Measure, tuple[int, Ints]] = {}

    def stretch_us(self, most_us: int, most: int) -> int:
        """Up to when to fold ahead at once: an instant of the grid, `most_us` or the one at the event number `most`."""
        queue = self._queue
        if len(queue) <= most:
            return most_us
        return min(most_us, -(-int(queue.ts[queue.at + most]) // self._grid_us) * self._grid_us)

    def is_plain(self, until_us: int) -> bool:
        """Whether every event up to `until_us` is by itself, and no part of something that is put together later."""
        if self.assembly.next_due_us() is not None:
            return False
        queue = self._queue
        events = queue.events[queue.at : int(np.searchsorted(queue.ts, until_us, side="right"))]
        return not any(isinstance(event, Ingested) for event in events)

    def gather(self, from_us: int, until_us: int) -> None:
        """Fold the events up to `until_us` ahead; what becomes of them is seen once :meth:`fold` comes there.

        Args:
            from_us: the instant that was looked at last; everything up to there is folded.
        """
        self.let_go(from_us)
        self._gathering, self.tasks.grid_us = True, self._grid_us
        super().fold(until_us)
        self.tasks.lose(until_us + 1)
        self._gathering, self.tasks.grid_us = False, 0
        self._gathered_us = until_us
        self._ages.gather()
        self._oldest_at.clear()

    def let_go(self, t_us: int) -> None:
        """Forget what no look from `t_us` on needs to know."""
        for flat in self.flat.values():
            flat.settle(t_us)
        self._ages.gather()

    def fold(self, until_us: int | None = None, *, evaluated_us: int = 0) -> int:
        if until_us is not None and until_us <= self._gathered_us:
            self._t_us = until_us
            self._settle(until_us)
            return 0
        return super().fold(until_us, evaluated_us=evaluated_us)

    def _settle(self, until_us: int) -> None:
        """Let the samples join their panes that were heard of up to `until_us`."""
        listening = self._listening()
        for each in self._waiting:
            end = int(np.searchsorted(each.heard_us, until_us, side="right"))
            if end > each.joined:
                super()._join(each.table, each.samples.between(each.joined, end), listening)
                each.joined = end
        self._waiting = [each for each in self._waiting if each.joined < len(each.heard_us)]

    def _join(self, table: PaneTable, samples: Joining, listening: set[str]) -> None:
        self.flat[table.measure.key].add(samples)
        if self._gathering:
            self._waiting.append(Waiting(table, samples, samples.heard_us))
        else:
            super()._join(table, samples, listening)

    @property
    def ahead(self) -> bool:
        """Whether more is folded than the instant that is looked at may know of."""
        return self._t_us < self._gathered_us

    def ran(self, measure: Measure) -> Ran:
        """The tasks that count for `measure` and ran at some time of what was folded ahead."""
        return self._ages.ran(measure, self._groupings[measure.group_by])

    def oldest_running(self, measure: Measure) -> Ints:
        if not self.ahead:
            return super().oldest_running(measure)
        known = self._oldest_at.get(measure)
        groups = len(self.groups(measure.group_by))
        if known is None or known[0] != self._t_us or len(known[1]) != groups:
            ran = self.ran(measure)
            groups = len(self.groups(measure.group_by))
            known = self._oldest_at[measure] = (self._t_us, oldest(ran, groups, self._t_us))
        return known[1]

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        if not self.ahead:
            return super().oldest_running_since(measure, group, since_us)
        return oldest_since(self.ran(measure), group, since_us, self._t_us)

    def give_up_lost(self, t_us: int) -> None:
        if t_us > self._gathered_us:
            super().give_up_lost(t_us)
