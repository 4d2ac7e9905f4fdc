"""Running tasks: who works on what since when, what it has used so far, and what its end is worth.

Tasks are told apart by agent and task id. An attempt that starts takes the place of the one before it. What ended is
remembered for a moment, for the start that arrives after its end and the model call that arrives after its task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec
import numpy as np

from self_healing.clock import SECOND_US
from self_healing.measures import NONE_MIN, NOT_SILENT, Bools, Grouped, Ints, Measure
from self_healing.model import Event
from self_healing.telemetry.agents import Agent, Ended, Key, Running
from self_healing.telemetry.columns import put
from self_healing.telemetry.ends import start_of
from self_healing.telemetry.folding import Folding
from self_healing.telemetry.groups import Grouping
from self_healing.telemetry.losses import Losses
from self_healing.telemetry.samples import matches


class TaskTable(Folding):
    """The agents with the tasks that they run, and those that ended a moment ago; arguments as for :class:`Folding`."""

    def __init__(self, by_agent: Grouping, columns: Sequence[str] = (), *, keep_silent: bool = False) -> None:
        super().__init__(by_agent, columns, keep_silent=keep_silent)
        self._oldest: dict[Measure, tuple[int, Ints]] = {}
        self._beats: dict[Measure, tuple[int, Ints]] = {}
        self._ever_beat: dict[Measure, Bools] = {}  # whether any task of a group ever sent heartbeats

    # -- questions

    def places(self) -> list[int]:
        """The places of the agents that are known here."""
        return [agent.place for agent in self.agents.values()]

    def forget(self, grouped: Grouped, places: Ints) -> None:
        """Others come to these places of a grouping."""
        self.version += 1
        for measure, beat in self._ever_beat.items():
            if measure.grouped == grouped:
                beat[places[places < len(beat)]] = False

    def longest_running(self, agent: str, most: int) -> list[tuple[str | None, Running]]:
        """The tasks of an agent that started first, with their ids."""
        running = self.agents[agent].running if agent in self.agents else {}
        return sorted(running.items(), key=lambda each: each[1].started_at)[:most]

    def seen(self) -> dict[str, int]:
        """The agents that work, and when the newest event of each was, microseconds."""
        return {name: agent.seen_us for name, agent in self.agents.items() if name is not None and agent.seen_us}

    def start_of(self, event: Event) -> float | None:
        """When the task that an event is about started, seconds since 1970; None when nobody knows."""
        agent = self.agents.get(event.agent)
        return None if agent is None else start_of(agent, event)

    def starts(self) -> Iterator[tuple[Event, int]]:
        """The start of each running task, as far as it is still known, and when that was, microseconds."""
        for name, agent in self.agents.items():
            for id, task in agent.running.items():
                yield self.start_event(name, id, task), round(task.started_at * SECOND_US)

    def start_event(self, name: str | None, id: str | None, task: Running) -> Event:
        """The start of a task, as far as it is still known."""
        event = Event(agent=name, task_id=id, attempt=task.attempt)
        for column, value in zip(self._columns, task.values, strict=True):
            put(event, column, value)
        return event

    def next_lost_us(self) -> int | None:
        """When the next running task is lost, if nothing more is heard of it; None when none runs."""
        return self._losses.next_lost_us()

    def oldest(self, measure: Measure, grouping: Grouping) -> Ints:
        """The earliest start of each group's running tasks, microseconds; ``NONE_MIN`` where none runs."""
        cached = self._oldest.get(measure)
        if cached is not None and cached[0] == self.version and len(cached[1]) == len(grouping.groups):
            return cached[1]
        if grouping is self._by_agent and not measure.where:
            found = [
                (agent.place, round(min(task.started_at for task in agent.running.values()) * SECOND_US))
                for agent in self.agents.values()
                if agent.running
            ]
        else:
            found = [(grouping.place_of(event), start_us) for event, start_us in self._matching(measure)]
        oldest = np.full(len(grouping.groups), NONE_MIN, np.int64)
        places, starts = np.array(found, np.int64).reshape(-1, 2).T
        np.minimum.at(oldest, places, starts)
        self._oldest[measure] = (self.version, oldest)
        return oldest

    def oldest_since(self, measure: Measure, grouping: Grouping, place: int, since_us: int) -> int:
        """The earliest start after `since_us` of the running tasks of one group; ``NONE_MIN`` when there is none."""
        tasks = (task for task in self._matching(measure) if task[1] > since_us)
        return min((start_us for event, start_us in tasks if grouping.place_of(event) == place), default=NONE_MIN)

    def quietest(self, measure: Measure, grouping: Grouping) -> Ints:
        """The oldest of the newest signs of each group's tasks, of agents that send heartbeats, microseconds.

        Of tasks that run, and of those that were given up because they were silent. ``NOT_SILENT`` where there were
        such tasks and are none now, 0 where there never was one.
        """
        cached = self._beats.get(measure)
        if cached is not None and cached[0] == self.version and len(cached[1]) == len(grouping.groups):
            return cached[1]
        found = [(grouping.place_of(event), seen_us) for event, seen_us in self._beating(measure)]
        quietest = np.full(len(grouping.groups), NOT_SILENT, np.int64)
        places, signs = np.array(found, np.int64).reshape(-1, 2).T
        np.minimum.at(quietest, places, signs)
        known = quietest < NOT_SILENT
        before = self._ever_beat.get(measure, known)
        known[: len(before)] |= before
        if grouping is self._by_agent and not measure.where:
            known[[agent.place for agent in self.agents.values() if agent.beat_us]] = True
        quietest[~known] = 0
        self._ever_beat[measure] = known
        self._beats[measure] = (self.version, quietest)
        return quietest

    def quietest_since(self, measure: Measure, grouping: Grouping, place: int, since_us: int) -> int:
        """The same of the signs after `since_us` alone, for one group."""
        signs = (sign for sign in self._beating(measure) if sign[1] > since_us)
        return min((seen_us for event, seen_us in signs if grouping.place_of(event) == place), default=0)

    def _beating(self, measure: Measure) -> Iterator[tuple[Event, int]]:
        """The start of each task of the agents that send heartbeats, and its newest sign of life."""
        for name, agent in self.agents.items():
            if agent.beat_us:
                for id, task in chain(agent.running.items(), agent.silent.items()):
                    event = self.start_event(name, id, task)
                    if not measure.where or matches(event, measure.where):
                        yield event, task.seen_us

    def start_us(self, event: Event) -> int | None:
        """When the task started that an event is of, microseconds; None when nobody knows."""
        agent = self.agents.get(event.agent)
        started_at = None if agent is None else start_of(agent, event)
        return None if started_at is None else round(started_at * SECOND_US)

    def _matching(self, measure: Measure) -> list[tuple[Event, int]]:
        return [task for task in self.starts() if not measure.where or matches(task[0], measure.where)]

    # -- state

    def pack(self) -> dict[str, bytes]:
        """All of it for the state, by name; what did not change since the last time is left out."""
        agents = [
            (name, agent.beat_us, agent.seen_us, agent.repairs, agent.ended, agent.running)
            for name, agent in self.agents.items()
        ]
        rest = [list(self.repairs.items()), self.lost, self._turned_us]
        packed = {"tasks": msgspec.msgpack.encode([self._columns, agents, *rest])}
        if self._keep_silent:
            silent = [(name, agent.silent) for name, agent in self.agents.items() if agent.silent]
            packed["silent"] = msgspec.msgpack.encode([self._columns, silent])
        if self._before_changed:
            before = [(name, agent.before) for name, agent in self.agents.items() if agent.before]
            packed["ended"] = msgspec.msgpack.encode(before)
            self._before_changed = False
        return packed

    def unpack(self, packed: bytes, ended: bytes, silent: bytes | None = None) -> None:
        """Put back what :meth:`pack` gave, the newest of each name; None for what nothing was stored of."""
        columns, agents, repairs, self.lost, self._turned_us = msgspec.msgpack.decode(packed, type=_Tasks)
        before = dict(msgspec.msgpack.decode(ended, type=list[tuple[str | None, dict[str | None, Ended]]]))
        self.agents = {}
        for name, beat_us, seen_us, repairing, ended_of, running in agents:
            place, before_of = self._by_agent.add((name,)), before.get(name, {})
            agent = self.agents[name] = Agent(name, place, running, ended_of, before_of, seen_us, repairing)
            agent.beats(beat_us)
        self._losses = Losses(self.agents)
        self._ended = sum(len(agent.ended) for agent in self.agents.values())
        self._recolumned(columns, [agent.running for agent in self.agents.values()])
        if silent is not None and self._keep_silent:
            columns, lost = msgspec.msgpack.decode(silent, type=_Silent)
            self._recolumned(columns, [tasks for _, tasks in lost])
            for name, tasks in lost:
                if name in self.agents:
                    self.agents[name].silent = tasks
        self.repairs = dict(repairs)
        self.version += 1

    def _recolumned(self, columns: tuple[str, ...], tasks: Iterable[dict[str | None, Running]]) -> None:
        """Other triggers may ask for other columns now."""
        if columns != self._columns:
            for task in (task for each in tasks for task in each.values()):
                known = dict(zip(columns, task.values, strict=True))
                task.values = tuple(known.get(column) for column in self._columns)


_Tasks = tuple[
    tuple[str, ...],
    list[tuple[str | None, int, int, bool, dict[str | None, Ended], dict[str | None, Running]]],
    list[tuple[Key, str]],
    int,
    int,
]

_Silent = tuple[tuple[str, ...], list[tuple[str | None, dict[str | None, Running]]]]
