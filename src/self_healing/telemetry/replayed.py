"""Telemetry of a history: events are folded a stretch ahead, and their samples join the panes when their time comes.

Folding a long stretch at once is ten times as quick as folding it instant by instant. It says which samples there will
be, so that one can see ahead at which instants something happens at all, and look at those alone. What is asked at any
instant of the stretch is answered as if nothing were folded beyond it: from flat rows, which say what a window holds
after a leap of an hour as quickly as after a second; only quantiles are told from panes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import COARSE_US, FINE_US, Bools, Grouped, Ints, Measure, Totals, begins_us, successive_us
from self_healing.spec import MAX_GROUPS, TriggerSpec
from self_healing.telemetry.ages import Ages, Ran, oldest, oldest_since
from self_healing.telemetry.examples import Examples
from self_healing.telemetry.groups import BY_AGENT
from self_healing.telemetry.pulse import Pulse
from self_healing.telemetry.rows import Flat
from self_healing.telemetry.samples import Finished, Joining
from self_healing.telemetry.silences import Heard, Silences
from self_healing.telemetry.table import PaneTable
from self_healing.telemetry.telemetry import Telemetry

MOST_SAID = 100
"""So many totals are remembered while the same instant is looked at."""


@dataclass(slots=True)
class Waiting:
    """Samples that are known ahead.

    Args:
        heard_us: when each joins its pane, ascending; later than it happened where a call of a model came late.
    """

    table: PaneTable
    samples: Joining
    heard_us: Ints


class _NoExamples(Examples):
    """A history has no incident that needs evidence."""

    def add(self, ended: Finished, at: int) -> None:
        pass


class _NoPulse(Pulse):
    """Nobody looks on while a history is replayed."""

    def add(self, name: str, ts: Ints, count: Ints, amount: Ints) -> None:
        pass


class Replayed(Telemetry):
    """Telemetry of a history.

    Args:
        triggers, max_groups: as for :class:`Telemetry`.
        grid_us: of the instants that may be looked at.
    """

    def __init__(self, triggers: Iterable[TriggerSpec], *, grid_us: int, max_groups: int = MAX_GROUPS) -> None:
        triggers = list(triggers)
        super().__init__(triggers, max_groups=max_groups)
        self.examples, self.pulse = _NoExamples(), _NoPulse()
        self._grid_us = grid_us
        most = max_groups + 2  # with that of the overflow, and one behind the last
        self.flat = {key: Flat.of([t for t in triggers if Measure.of(t).key == key], most) for key in self._tables}
        self._ages = Ages(self.tasks, self._groupings[BY_AGENT])
        of_life = [m for m in self._measures.values() if m.key in self._signs or m.key in self._beats]
        known = {measure: self._groupings[measure.grouped] for measure in of_life}
        self._silences = Silences(known, self._signs, self.tasks, grid_us)
        self._waiting: list[Waiting] = []
        self._totals: dict[tuple[str, int, int], tuple[tuple[int, int], Totals]] = {}
        self._gathered_us = 0  # up to when events are folded ahead
        self._t_us = 0  # the instant that is looked at
        self._oldest_at: dict[Measure, tuple[int, Ints]] = {}

    @property
    def tells_apart(self) -> bool:
        """Whether its rows tell all times apart that triggers ask of; else nothing is to be seen ahead."""
        return all(flat.fits for flat in self.flat.values())

    def number_as(self, telemetry: Telemetry) -> None:
        """Give groups the places that they have in another telemetry."""
        for group_by, grouping in self._groupings.items():
            grouping.restore(telemetry.groups(group_by))

    def numbers_as(self, telemetry: Telemetry) -> bool:
        """Whether the groups of another telemetry have the same places here."""
        known = ((self.groups(group_by), telemetry.groups(group_by)) for group_by in self._groupings)
        return all(ours[: len(theirs)] == theirs for ours, theirs in known)

    def stretch_us(self, most_us: int, most: int) -> int:
        """Up to when to fold ahead at once: an instant of the grid, `most_us` or the one at the event number `most`."""
        queue = self._queue
        if len(queue) <= most:
            return most_us
        return min(most_us, -(-int(queue.ts[queue.at + most]) // self._grid_us) * self._grid_us)

    def hangs_on_order(self, until_us: int) -> bool:
        """Whether folding up to `until_us` at once may keep other groups apart than folding instant by instant."""
        queue, tasks = self._queue, self.tasks
        events = queue.events[queue.at : int(np.searchsorted(queue.ts, until_us, side="right"))]
        for agent in tasks.agents.values():  # which may be lost by then
            events += [tasks.start_event(agent.name, id, task) for id, task in agent.running.items()]
        return any(grouping.hangs_on_order(events) for grouping in self._groupings.values())

    def gather(self, from_us: int, until_us: int) -> None:
        """Fold the events up to `until_us` ahead; what becomes of them is seen once :meth:`fold` comes there.

        Args:
            from_us: the instant that was looked at last; everything up to there is folded.
        """
        for flat in self.flat.values():
            flat.settle(from_us)
        self.tasks.grid_us = self._grid_us
        super().fold(until_us)
        self.tasks.lose(until_us + 1)
        self._gathered_us = until_us
        self._ages.gather()
        self._silences.gather()
        for flat in self.flat.values():
            flat.gather()
        self._oldest_at.clear()

    def fold(self, until_us: int | None = None, *, evaluated_us: int = 0) -> int:
        if until_us is None or until_us > self._gathered_us:
            raise ValueError(
                f"{until_us} lies beyond what was folded ahead, {self._gathered_us}; gather up to there first"
            )
        before_us, self._t_us = self._t_us, until_us
        for flat in self.flat.values():
            if flat.late:
                flat.hear(until_us)
        listening = self._listening.keys()
        for each in self._waiting:
            if each.table.tells_quantiles or each.table.measure.key in listening:
                start, end = each.heard_us.searchsorted((before_us, until_us), side="right").tolist()
                if end > start:
                    self._join_now(each.table, each.samples.between(start, end), listening)
        if not self.ahead:
            self._waiting = [each for each in self._waiting if each.heard_us[-1] > until_us]
        return 0

    def _join_now(self, table: PaneTable, samples: Joining, listening: set[str]) -> None:
        if table.tells_quantiles:
            super()._join(table, samples, listening)
        else:
            self._listening.tell_samples(table.measure, samples)

    def _join(self, table: PaneTable, samples: Joining, listening: set[str]) -> None:
        self.flat[table.measure.key].add(samples)
        if len(samples.at):
            self._waiting.append(Waiting(table, samples, np.maximum(samples.heard_us, self._t_us + 1)))

    @property
    def ahead(self) -> bool:
        """Whether more is folded than the instant that is looked at may know of."""
        return self._t_us < self._gathered_us

    def ran(self, measure: Measure) -> Ran:
        """The tasks that count for `measure` and ran at some time of what was folded ahead."""
        return self._ages.ran(measure, self._groupings[measure.grouped])

    def oldest_running(self, measure: Measure) -> Ints:
        if not self.ahead:
            return super().oldest_running(measure)
        known = self._oldest_at.get(measure)
        groups = len(self.groups(measure.grouped))
        if known is None or known[0] != self._t_us or len(known[1]) != groups:
            ran = self.ran(measure)
            groups = len(self.groups(measure.grouped))
            known = self._oldest_at[measure] = (self._t_us, oldest(ran, groups, self._t_us))
        return known[1]

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        if not self.ahead:
            return super().oldest_running_since(measure, group, since_us)
        return oldest_since(self.ran(measure), group, since_us, self._t_us)

    def heard(self, measure: Measure) -> Heard:
        """The signs of life of `measure` that were the newest at some time of what was folded ahead."""
        return self._silences.of(measure)

    def last_sign(self, measure: Measure) -> Ints:
        return self._silences.last(measure, self._t_us)

    def last_sign_since(self, measure: Measure, group: int, since_us: int) -> int:
        return self._silences.last_since(measure, group, since_us, self._t_us)

    def forget(self, grouped: Grouped, silent: Bools) -> Ints:
        places = super().forget(grouped, silent)
        self._silences.forget(grouped, places)
        return places

    def give_up_lost(self, t_us: int) -> None:
        """Nothing: what is lost was given up while it was folded."""

    # -- windows

    def window(self, measure: Measure, window_us: int, t_us: int) -> Totals:
        if self._tables[measure.key].tells_quantiles:
            return super().window(measure, window_us, t_us)
        return self._said(measure, begins_us(window_us, t_us), t_us + 1, extremes=True)

    def baseline(self, measure: Measure, window_us: int, over_us: int, t_us: int) -> Totals:
        if self._tables[measure.key].tells_quantiles:
            return super().baseline(measure, window_us, over_us, t_us)
        first_us = (t_us - window_us - over_us) // COARSE_US * COARSE_US
        return self._said(measure, first_us, begins_us(window_us, t_us), extremes=False)

    def successive(self, measure: Measure, window_us: int, t_us: int) -> tuple[Totals, Totals]:
        if self._tables[measure.key].tells_quantiles:
            return super().successive(measure, window_us, t_us)
        earlier_us, from_us, end_us = successive_us(window_us, t_us)
        later = self._said(measure, from_us, end_us, extremes=True)
        return later, self._said(measure, earlier_us, from_us, extremes=True)

    def single(self, measure: Measure, places: Ints, from_us: Ints, until_us: Ints) -> tuple[Ints, Ints]:
        totals = self.flat[measure.key].between(places, from_us, until_us // FINE_US * FINE_US)
        return totals.count, totals.amount

    def first_heard_us(self, measure: Measure, places: Ints, from_us: Ints, pane_us: int) -> Ints:
        begins = from_us // pane_us * pane_us
        return self.flat[measure.key].first_counted_us(places, begins, self._t_us) // pane_us * pane_us

    def _said(self, measure: Measure, from_us: int, until_us: int, *, extremes: bool) -> Totals:
        """The totals of all groups between two times; of the same samples the same object."""
        flat, groups = self.flat[measure.key], len(self.groups(measure.grouped))
        asked, made_from = (measure.key, from_us, until_us), (flat.version, groups)
        said = self._totals.get(asked)
        if said is None or said[0] != made_from:
            if len(self._totals) > MOST_SAID:
                self._totals.clear()
            places = np.arange(groups)
            ends = np.full(groups, from_us), np.full(groups, until_us)
            said = self._totals[asked] = (made_from, flat.between(places, *ends, extremes=extremes))
        return said[1]

    def _held(self, grouped: Grouped) -> Iterator[Sequence[int] | NDArray[np.intp]]:
        yield from super()._held(grouped)
        for key, table in self._tables.items():
            if table.measure.grouped == grouped:
                yield np.unique(self.flat[key].places)
