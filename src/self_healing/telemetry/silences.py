"""Silences: when each group was last heard of, at any instant of a stretch of history that was folded ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from self_healing.measures import NONE_MIN, NOT_SILENT, Bools, Grouped, Ints, Measure
from self_healing.telemetry.agents import Quiet
from self_healing.telemetry.ages import STILL_RUNS, Ran, oldest, oldest_since
from self_healing.telemetry.groups import BY_AGENT, Grouping
from self_healing.telemetry.samples import matches
from self_healing.telemetry.signs import Signs
from self_healing.telemetry.tasks import TaskTable

NEVER = NONE_MIN
"""When a group was first heard of that never was."""


@dataclass(slots=True)
class Heard:
    """What was heard of the groups of one measure.

    Args:
        newest: the signs that were the newest of something, one element each: whose each is, when it was, from when on
            that was known, and until when nothing newer was. Of what was so at no instant of the grid nothing is told.
        known_us: when each group was first heard of, by its place; ``NEVER`` where it was not.
    """

    newest: Ran
    known_us: Ints


class Silences:
    """Tells of any instant of the stretch what would have been the newest signs of life then.

    Args:
        measures: of signs of life, each with its grouping.
        signs: those of the measures of events, by their keys; the others are of heartbeats.
        tasks: where heartbeats are folded.
        grid_us: of the instants that may be looked at.
    """

    def __init__(
        self, measures: Mapping[Measure, Grouping], signs: Mapping[str, Signs], tasks: TaskTable, grid_us: int
    ) -> None:
        self._measures = measures
        self._signs = signs
        self._tasks = tasks
        self._grid_us = grid_us
        self._heard: dict[Measure, Heard] = {}
        self._known_us = {measure: np.zeros(0, np.int64) for measure in measures}
        self._last: dict[Measure, tuple[int, Ints]] = {}
        self._before = {key: each.last_us for key, each in signs.items()}  # the newest ones before the stretch
        for each in signs.values():
            each.log = []
        tasks.quiet = Quiet() if len(measures) > len(signs) else None

    def gather(self) -> None:
        """Take in what was folded since this was last called."""
        self._last.clear()
        quiet = self._tasks.quiet
        if quiet is not None:
            for agent in self._tasks.agents.values():
                for id, task in chain(agent.running.items(), agent.silent.items()):
                    quiet.add(agent, id, task, STILL_RUNS)
            self._tasks.quiet = Quiet()
        for measure, grouping in self._measures.items():
            if measure.key in self._signs:
                newest = self._of_signs(self._signs[measure.key])
            else:
                newest = self._of_beats(quiet or Quiet(), measure, grouping)
            known_us = np.full(len(grouping.groups), NEVER, np.int64)
            known_us[: len(self._known_us[measure])] = self._known_us[measure]
            np.minimum.at(known_us, newest.places, newest.from_us)
            self._known_us[measure] = known_us
            self._heard[measure] = Heard(newest.of(self._seen(newest.from_us, newest.until_us)), known_us)

    def _seen(self, from_us: Ints, until_us: Ints) -> Bools:
        """What is so at some instant of the grid."""
        seen: Bools = -(-from_us // self._grid_us) * self._grid_us < until_us
        return seen

    def _of_signs(self, signs: Signs) -> Ran:
        """Each sign until there was the next one of its group."""
        key, log = signs.measure.key, signs.log or []
        before, self._before[key], signs.log = self._before[key], signs.last_us, []
        known = np.flatnonzero(before)
        places = np.concatenate([known, *(places for places, _, _ in log)])
        at = np.concatenate([before[known], *(ts for _, ts, _ in log)])
        excuses = np.repeat([False, *(each for _, _, each in log)], [len(known), *(len(ts) for _, ts, _ in log)])
        order = np.argsort(at, kind="stable")
        order = order[np.argsort(places[order], kind="stable")]
        places, at, excuses = places[order], at[order], excuses[order]
        if excuses.any():  # nobody is known by them alone
            rows, first = np.arange(len(places)), np.ones(len(places), np.bool_)
            first[1:] = places[1:] != places[:-1]
            begins = np.maximum.accumulate(np.where(first, rows, 0))
            kept = np.maximum.accumulate(np.where(excuses, -1, rows)) >= begins
            places, at = places[kept], at[kept]
        until = np.full(len(at), STILL_RUNS)
        until[:-1] = np.where(places[1:] == places[:-1], at[1:], STILL_RUNS)
        return Ran(places, at, at, until)

    def _of_beats(self, quiet: Quiet, measure: Measure, grouping: Grouping) -> Ran:
        """Each heartbeat until there was the next one of its task, or that was over."""
        places, *columns = (np.array(each, np.int64) for each in (quiet.places, *quiet.times))
        if grouping.group_by == BY_AGENT and measure.most is None and not measure.where:
            return Ran(places, *columns)
        order = np.argsort(columns[1], kind="stable")  # groups are met in the order in which tasks begin
        order = order[self._seen(columns[1][order], columns[2][order])]
        tasks = [quiet.tasks[row] for row in order.tolist()]
        events = [self._tasks.start_event(agent.name, id, task) for agent, id, task in tasks]
        kept = np.array([not measure.where or matches(event, measure.where) for event in events], np.bool_)
        places = grouping.places([event for event, keep in zip(events, kept.tolist(), strict=True) if keep])
        return Ran(places, *(column[order][kept] for column in columns))

    def of(self, measure: Measure) -> Heard:
        """What was heard of the groups of a measure."""
        return self._heard[measure]

    def last(self, measure: Measure, t_us: int) -> Ints:
        """The oldest of the newest signs of each group at `t_us`, as :meth:`Windows.last_sign` tells it."""
        heard, groups = self._heard[measure], len(self._measures[measure].groups)
        said = self._last.get(measure)
        if said is None or said[0] != t_us or len(said[1]) != groups:
            known = np.zeros(groups, np.bool_)
            known[: len(heard.known_us)] = heard.known_us <= t_us
            last_us = oldest(heard.newest, groups, t_us)
            silent = last_us == NONE_MIN
            last_us[silent] = np.where(known[silent], NOT_SILENT, 0)
            said = self._last[measure] = t_us, last_us
        return said[1]

    def last_since(self, measure: Measure, place: int, since_us: int, t_us: int) -> int:
        """The same of the signs after `since_us` alone, for one group; 0 where there is none."""
        found = oldest_since(self._heard[measure].newest, place, since_us, t_us)
        return 0 if found == NONE_MIN else found

    def forget(self, grouped: Grouped, places: Ints) -> None:
        """Others come to these places of a grouping."""
        for measure, known_us in self._known_us.items():
            if measure.grouped == grouped:
                known_us[places[places < len(known_us)]] = NEVER
                if measure.key in self._signs:
                    self._before[measure.key] = self._signs[measure.key].last_us
