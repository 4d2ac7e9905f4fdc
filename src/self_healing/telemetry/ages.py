"""Ages: which tasks ran when, of a stretch of history that was folded ahead of the instant that is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from self_healing.clock import SECOND_US
from self_healing.measures import NONE_MIN, Bools, Ints, Measure
from self_healing.telemetry.agents import Over
from self_healing.telemetry.groups import Grouping
from self_healing.telemetry.samples import matches
from self_healing.telemetry.tasks import TaskTable

STILL_RUNS = NONE_MIN
"""The end of a task that had none yet."""


@dataclass(slots=True)
class Ran:
    """Tasks, one element each.

    Args:
        places: of their groups.
        started_us: when each says that it started.
        from_us: when that was told; it counts from then on.
        until_us: when it no longer ran; ``STILL_RUNS`` where it does.
    """

    places: Ints
    started_us: Ints
    from_us: Ints
    until_us: Ints

    def of(self, rows: Bools) -> Ran:
        """Some of them."""
        return Ran(self.places[rows], self.started_us[rows], self.from_us[rows], self.until_us[rows])

    def at(self, t_us: int) -> Ints:
        """Which of them ran at `t_us`."""
        running: Ints = np.flatnonzero((self.from_us <= t_us) & (t_us < self.until_us))
        return running


class Ages:
    """Tells of any instant of the stretch what the table of running tasks would have told then.

    Args:
        tasks: where they are folded.
        by_agent: the grouping by agent.
    """

    def __init__(self, tasks: TaskTable, by_agent: Grouping) -> None:
        self._tasks = tasks
        self._by_agent = by_agent
        self._over = Over()
        tasks.log = Over()
        self._ran: dict[Measure, Ran] = {}

    def gather(self) -> None:
        """Take in what was folded since this was last called; what had ended by then is forgotten."""
        self._ran.clear()
        self._over, self._tasks.log = self._tasks.log or Over(), Over()
        for agent in self._tasks.agents.values():
            for id, task in agent.running.items():
                self._over.add(agent, id, task, STILL_RUNS)

    def ran(self, measure: Measure, grouping: Grouping) -> Ran:
        """All of them that count for `measure`."""
        found = self._ran.get(measure)
        if found is None:
            found = self._ran[measure] = self._of(measure, grouping)
        return found

    def _of(self, measure: Measure, grouping: Grouping) -> Ran:
        over = self._over
        started = np.rint(np.array(over.started_at, np.float64) * SECOND_US).astype(np.int64)
        columns = (started, np.array(over.told_us, np.int64), np.array(over.until_us, np.int64))
        if grouping is self._by_agent and not measure.where:
            return Ran(np.array(over.places, np.int64), *columns)
        order = np.argsort(columns[1], kind="stable")  # groups are met in the order in which tasks begin
        tasks = [over.tasks[row] for row in order.tolist()]
        events = [self._tasks.start_event(agent.name, id, task) for agent, id, task in tasks]
        kept = np.array([not measure.where or matches(event, measure.where) for event in events], np.bool_)
        places = grouping.places([event for event, keep in zip(events, kept.tolist(), strict=True) if keep])
        return Ran(places, *(column[order][kept] for column in columns))


def oldest(ran: Ran, groups: int, t_us: int) -> Ints:
    """The earliest start of each group's tasks that ran at `t_us`; ``NONE_MIN`` where none did."""
    found = np.full(groups, NONE_MIN, np.int64)
    running = ran.at(t_us)
    np.minimum.at(found, ran.places[running], ran.started_us[running])
    return found


def oldest_since(ran: Ran, place: int, since_us: int, t_us: int) -> int:
    """The same for one group, of the tasks that started after `since_us` only."""
    running = ran.at(t_us)
    wanted = running[(ran.places[running] == place) & (ran.started_us[running] > since_us)]
    return int(ran.started_us[wanted].min()) if len(wanted) else NONE_MIN
