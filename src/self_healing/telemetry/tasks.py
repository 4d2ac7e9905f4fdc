"""Running tasks: who works on what since when, what it has used so far, and what its end is worth.

Tasks are told apart by agent and task id. An attempt that starts takes the place of the one before it. What ended is
remembered for a moment, for the start that arrives after its end and the model call that arrives after its task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import msgspec
import numpy as np

from self_healing.clock import DAY_US, HOUR_US, SECOND_US
from self_healing.measures import NONE_MIN, NOT_SILENT, Ints, Measure
from self_healing.model import Event, Kind, Usage
from self_healing.telemetry.agents import Agent, Ended, Folded, Key, Log, Repair, Running, Unpaid
from self_healing.telemetry.calls import Retried
from self_healing.telemetry.columns import ATTRIBUTE, getter, harmless, put
from self_healing.telemetry.examples import hushed
from self_healing.telemetry.groups import OVERFLOW, Grouping
from self_healing.telemetry.samples import (
    Finished,
    Gathered,
    Late,
    Retries,
    matches,
    tokens_of,
)

MOST_RUNNING = 100_000
MOST_ENDED = 10_000
MOST_REPAIRS = 20_000
ENDED_FOR_US = HOUR_US
"""No longer than this, and no more than ``MOST_ENDED``, is remembered of what ended; half of it at least."""

# Plain numbers: looking up a member of the enum takes longer than the rest of a heartbeat.
STARTED, FINISHED, HEARTBEAT, CALL, TEST, SCORE = (
    int(kind)
    for kind in (
        Kind.TASK_STARTED,
        Kind.TASK_FINISHED,
        Kind.HEARTBEAT,
        Kind.LLM_CALL,
        Kind.TEST_RUN,
        Kind.QUALITY_SCORE,
    )
)

MISSED_HEARTBEATS = 3
LOST_AFTER_US = DAY_US
"""When a task whose agent sends no heartbeats is given up."""


class TaskTable:
    """The agents with the tasks that they run, and those that ended a moment ago.

    Args:
        by_agent: where agents get the places of their groups.
        columns: the columns and attributes, beside the agent, by which running tasks are grouped and filtered.
        keep_silent: whether tasks that were lost are remembered until they are heard of, for a day.
    """

    def __init__(self, by_agent: Grouping, columns: Sequence[str] = (), *, keep_silent: bool = False) -> None:
        self.agents: dict[str | None, Agent] = {}
        self.repairs: dict[Key, str] = {}
        self.lost = 0
        self.version = 0
        self._by_agent = by_agent
        self._columns = tuple(columns)
        self._reading = [(column, getter(column)) for column in self._columns]
        self._attributes = [column.removeprefix(ATTRIBUTE) for column in columns if column.startswith(ATTRIBUTE)]
        self._keep_silent = keep_silent
        self.grid_us = 0
        """Of a history that is folded ahead: tasks are lost at the instants of this grid, between its events."""
        self._shortened_us = 0  # when it was last found that some agent's tasks are to be waited for less long
        self.log: Log | None = None
        """Hears of every task that begins to run, and of every one that no longer does, where somebody asks."""
        self._turned_us = 0  # when the ones before became that
        self._ended = 0  # how many ended since then
        self._before_changed = True  # since it was last packed
        self._oldest: dict[Measure, tuple[int, Ints]] = {}
        self._beats: dict[Measure, tuple[int, Ints]] = {}

    # -- events in

    def fold(self, events: Sequence[Event], kinds: Sequence[int], ts: Sequence[int], *, starts: bool = True) -> Folded:
        """Take in events in the order of their time; returns what they are worth.

        Args:
            kinds: of each event.
            ts: of each event, microseconds.
            starts: whether somebody wants to know when the tasks of samples started.
        """
        out = Folded()
        agents = self.agents
        due_us = self._due_us()
        for event, kind, at in zip(events, kinds, ts, strict=True):
            if at > due_us:
                due_us = self._pass(at)
            try:
                agent = agents[event.agent]
            except KeyError:
                agent = self._newcomer(event.agent)
            if event.handoff_id is not None or agent.repairs or event.attributes:
                handoff = self._handoff_of(event)
                if handoff is not None:
                    self._repair(agent, event, kind, at, handoff, out)
                    continue
            if at > agent.seen_us:  # noqa: PLR1730 max() takes five times as long
                agent.seen_us = at
            if kind == HEARTBEAT:
                if (task := agent.running.get(event.task_id)) is not None and (gap := at - task.seen_us) > 0:
                    # The largest gap counts and is forgotten slowly, so that one short gap makes nobody look lost.
                    usual = agent.beat_us
                    agent.beat_us = gap if gap >= usual else usual - (usual - gap) // 10
                    task.seen_us = at
                    if gap < usual or not usual:  # its tasks are waited for less long now
                        self._shortened_us = at
                        if self.grid_us:
                            due_us = min(due_us, self._up(max(_lost_us(agent), at)))
                if agent.silent and (task := agent.silent.get(event.task_id)) is not None:
                    task.seen_us = max(at, task.seen_us)
            elif kind == STARTED:
                self._start(agent, event, at)
                if self.grid_us and agent.beat_us:
                    due_us = min(due_us, self._up(at + _patience_us(agent) + 1))
                if starts and (task := agent.running.get(event.task_id)) is not None:
                    out.started.append((event, round(task.started_at * SECOND_US)))
            elif kind == FINISHED:
                self._finish(agent, event, at, out.finished, starts)
            elif kind == TEST:
                tests = out.tests
                tests.events.append(event)
                tests.ts.append(at)
                tests.place.append(agent.place)
                tests.passed.append(event.passed or 0)
                tests.failed.append(event.failed or 0)
                if starts:
                    tests.started_at.append(_start_of(agent, event))
            elif kind == CALL:
                if event.usage is not None:
                    self._call(agent, event, event.usage, at, out.late)
                elif isinstance(event, Retried):
                    self._retried(agent, event, out.retries)
            elif kind == SCORE:
                _add(out.scores, agent, event, at)
                if starts:
                    out.scores.started_at.append(_start_of(agent, event))
        self.version += 1
        if len(ts):
            self._forget(ts[-1])
        return out

    def _due_us(self) -> int:
        """An instant up to which no event finds that time alone has changed something."""
        turn_us = self._turned_us + ENDED_FOR_US // 2
        return min(turn_us, self._up(self._next_loss_us())) if self.grid_us else turn_us

    def _up(self, us: int) -> int:
        """The first instant of the grid from `us` on."""
        return -(-us // self.grid_us) * self.grid_us

    def _pass(self, at: int) -> int:
        """Let happen what time alone brings before an event at `at`; returns until when it brings nothing more."""
        if at > self._turned_us + ENDED_FOR_US // 2:
            self._turn(at)
        if self.grid_us:
            self.lose(at)
        return self._due_us()

    def _next_loss_us(self) -> int:
        """When :meth:`give_up` finds something next, if nothing more is heard of it."""
        due_us = [seen_us + DAY_US + 1 for agent in self.agents.values() if (seen_us := agent.seen_us)]
        due_us += [_lost_us(agent) for agent in self.agents.values() if agent.running]
        return min(due_us, default=NONE_MIN)

    def lose(self, before_us: int) -> None:
        """Give up what is lost at the instants of the grid before `before_us`."""
        while (due_us := self._up(max(self._next_loss_us(), self._shortened_us))) < before_us:
            self.give_up(due_us)

    def _newcomer(self, name: str | None) -> Agent:
        """The record of an agent that has none; beyond the groups that are kept apart, all further agents share one."""
        place = self._by_agent.add((name,))
        name = OVERFLOW if self._by_agent.is_overflow(place) else name
        return self.agents.setdefault(name, Agent(place=place))

    def is_repair(self, event: Event) -> bool:
        """Whether an event is of a task that works on a handoff, which feeds no trigger."""
        return self._handoff_of(event) is not None

    def _handoff_of(self, event: Event) -> str | None:
        if event.handoff_id is not None:
            return event.handoff_id
        if event.attributes and isinstance(event.attributes.get("handoff_id"), str):
            return str(event.attributes["handoff_id"])
        return self.repairs.get((event.agent, event.task_id)) if event.task_id is not None else None

    def _repair(self, agent: Agent, event: Event, kind: int, at: int, handoff: str, out: Folded) -> None:
        out.repairing.append((event, at))
        if kind in (Kind.TASK_STARTED, Kind.TASK_FINISHED):
            out.repairs.append(Repair(handoff, kind, event.status, event.agent, at, event.error_type))
        if event.task_id is None:
            return
        agent.repairs = True
        self.repairs[event.agent, event.task_id] = handoff
        task = agent.running.pop(event.task_id, None)  # it did not say so when it started
        if task is not None and self.log is not None:
            self.log.append((event.agent, event.task_id, task, at, False))

    def _start(self, agent: Agent, event: Event, at: int) -> None:
        id, attempt = event.task_id, event.attempt
        if id is None:
            return  # nothing will ever say that it ended
        started_at = event.started_at
        if started_at is None:
            started_at = at / SECOND_US
        ended = agent.ended.get(id) or agent.before.get(id)
        if ended is not None and started_at * SECOND_US <= ended[0] and (attempt or 1) <= ended[2]:
            return  # its end arrived first
        task = agent.running.get(id)
        if task is not None:
            before = task.attempt or 1
            if (attempt or 1) < before or ((attempt or 1) == before and started_at == task.started_at):
                return  # the next attempt arrived first, or it is told twice
        # The event itself is let go of: to find it again, cold, when its task ends would cost more than all else here.
        values = tuple([harmless(column, read(event)) for column, read in self._reading]) if self._columns else ()
        if self.log is not None and task is not None:
            self.log.append((event.agent, id, task, at, False))
        agent.running[id] = task = Running(started_at, at, attempt, values)
        if self.log is not None:
            self.log.append((event.agent, id, task, at, True))
        if agent.silent:
            agent.silent.pop(id, None)

    def _finish(self, agent: Agent, event: Event, at: int, out: Finished, starts: bool) -> None:
        id, attempt = event.task_id, event.attempt
        task = agent.running.pop(id, None)
        if task is not None and self.log is not None:
            self.log.append((event.agent, id, task, at, False))
        if agent.silent:
            agent.silent.pop(id, None)
        remember = id is not None
        if task is None or (attempt != task.attempt and attempt is not None and task.attempt is not None):
            remember = remember and self._is_news(agent, event, task, at)
            task = None
        started_at, duration_s = event.started_at, event.duration_s
        if started_at is None:
            started_at = _unsaid_start(event, task, at)
        if duration_s is None and started_at is not None:
            ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
            duration_s = event.duration_s = max(ended_at - started_at, 0.0)
        usage, tokens, cost, unpaid = event.usage, None, None, None
        if usage is not None:
            tokens, cost = usage.total_tokens, usage.total_usd
            if tokens is None:
                tokens = tokens_of(usage)
        paid = tokens is not None or cost is not None
        if not paid and task is not None:
            tokens, cost = task.tokens, task.cost_usd
        if not paid or event.trace_id is not None:  # in a trace, it may turn out to have been tried more often
            # It is kept for its columns; what else its line said may be large.
            columns = msgspec.structs.replace(event, attributes=self._asked_of(event)) if event.attributes else event
            # It goes into the state as it is, and its texts may hold secrets.
            unpaid = Unpaid(hushed(columns), tokens is not None, cost is not None, paid)
        out.events.append(event)
        out.ts.append(at)
        out.place.append(agent.place)
        out.duration_s.append(duration_s)
        out.attempt.append(attempt)
        out.status.append(event.status)
        out.tokens.append(tokens)
        out.cost_usd.append(cost)
        if starts:
            out.started_at.append(started_at)
        if remember:
            agent.ended[id] = (at, started_at, attempt or 1, unpaid)
            self._ended += 1
            if self._ended > MOST_ENDED // 2:
                self._turn(at)

    def _asked_of(self, event: Event) -> dict[str, Any] | None:
        """Of its attributes those that some trigger asks for."""
        known = event.attributes or {}
        return {name: known[name] for name in self._attributes if name in known} or None

    def _is_news(self, agent: Agent, event: Event, task: Running | None, at: int) -> bool:
        """Whether an end is to be remembered that is not of the attempt that runs, which is `task`."""
        id, attempt = event.task_id, event.attempt or 1
        if task is not None and attempt < (task.attempt or 1):  # the next attempt started already, and runs on
            agent.running[id] = task
            if self.log is not None:
                self.log.append((event.agent, id, task, at, True))
            return False
        other = agent.ended.get(id) or agent.before.get(id)
        return other is None or other[2] <= attempt or other[0] < at  # else the end of the next attempt arrived first

    def _call(self, agent: Agent, event: Event, usage: Usage, at: int, out: Late) -> None:
        id = event.task_id
        if id is None:
            return
        tokens, cost = tokens_of(usage), usage.total_usd
        task = agent.running.get(id)
        if task is not None:
            if tokens is not None:
                task.tokens = (task.tokens or 0) + tokens
            if cost is not None:
                task.cost_usd = (task.cost_usd or 0.0) + cost
            return
        ended = agent.ended.get(id) or agent.before.get(id)
        if ended is None or ended[3] is None or ended[3].paid or (tokens is None and cost is None):
            return
        unpaid = ended[3]
        _add(out, agent, unpaid.event, ended[0])
        out.heard_us.append(at)
        out.started_at.append(ended[1])
        out.tokens.append(tokens)
        out.cost_usd.append(cost)
        out.first_tokens.append(not unpaid.tokens)
        out.first_cost_usd.append(not unpaid.cost_usd)
        unpaid.tokens |= tokens is not None
        unpaid.cost_usd |= cost is not None
        self._before_changed = True

    @staticmethod
    def _retried(agent: Agent, event: Retried, out: Retries) -> None:
        ended = agent.ended.get(event.task_id) or agent.before.get(event.task_id)
        if ended is not None and ended[3] is not None and event.attempt is not None:
            _add(out, agent, ended[3].event, ended[0])
            out.started_at.append(ended[1])
            out.before.append(event.before)
            out.attempts.append(event.attempt)

    def _turn(self, at: int) -> None:
        """Let go of what ended too long ago: at an event, so that it is the same however a history is cut."""
        for agent in self.agents.values():
            agent.before, agent.ended = agent.ended, {}
        self._turned_us, self._ended, self._before_changed = at, 0, True

    def _forget(self, ts_us: int) -> None:
        """Let go of what is beyond the numbers that are kept."""
        for key in list(islice(self.repairs, max(len(self.repairs) - MOST_REPAIRS, 0))):
            del self.repairs[key]
        excess = self.running - MOST_RUNNING
        if excess > 0:
            kept = _level(sorted(len(agent.running) for agent in self.agents.values()), MOST_RUNNING)
            for name, agent in self.agents.items():
                for _ in range(min(len(agent.running) - kept, excess)):
                    id, task = agent.running.popitem()  # its newest
                    if self.log is not None:
                        self.log.append((name, id, task, ts_us, False))
                    excess -= 1
                    self.lost += 1

    # -- questions

    def places(self) -> list[int]:
        """The places of the agents that are known here."""
        return [agent.place for agent in self.agents.values()]

    def regrouped(self) -> None:
        """Groups changed places: what was worked out by place is so no more."""
        self.version += 1
        self._beats.clear()

    @property
    def running(self) -> int:
        """How many tasks run."""
        return sum(len(agent.running) for agent in self.agents.values())

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
        return None if agent is None else _start_of(agent, event)

    def starts(self) -> Iterator[tuple[Event, int]]:
        """The start of each running task, as far as it is still known, and when that was, microseconds."""
        for name, agent in self.agents.items():
            for id, task in agent.running.items():
                yield self.start_event(name, id, task), round(task.started_at * SECOND_US)

    def place_of(self, name: str | None) -> int:
        """The place of an agent's group."""
        agent = self.agents.get(name)
        return self._by_agent.add((name,)) if agent is None else agent.place

    def start_event(self, name: str | None, id: str | None, task: Running) -> Event:
        """The start of a task, as far as it is still known."""
        event = Event(agent=name, task_id=id, attempt=task.attempt)
        for column, value in zip(self._columns, task.values, strict=True):
            put(event, column, value)
        return event

    def give_up(self, t_us: int) -> list[Event]:
        """Let go of what is lost at `t_us`: tasks after three missed heartbeats, or a day; agents after a day.

        Returns:
            The starts of the tasks.
        """
        lost: list[Event] = []
        repairing = {name for name, _ in self.repairs}
        for name, agent in list(self.agents.items()):
            if agent.running:
                lost += self._lost_of(name, agent, t_us)
            if agent.silent:
                agent.silent = {id: task for id, task in agent.silent.items() if task.seen_us >= t_us - DAY_US}
            if agent.seen_us < t_us - DAY_US:
                agent.seen_us = 0
                if not agent.running and not agent.silent and name not in repairing:
                    del self.agents[name]
        self.lost += len(lost)
        self.version += bool(lost)
        return lost

    def _lost_of(self, name: str | None, agent: Agent, t_us: int) -> list[Event]:
        since_us = t_us - _patience_us(agent)
        lost = [id for id, task in agent.running.items() if task.seen_us < since_us]
        if self._keep_silent and agent.beat_us:
            agent.silent |= {id: agent.running[id] for id in lost}
        if self.log is not None:
            self.log += [(name, id, agent.running[id], t_us, False) for id in lost]
        return [self.start_event(name, id, agent.running.pop(id)) for id in lost]

    def next_lost_us(self) -> int | None:
        """When the next running task is lost, if nothing more is heard of it; None when none runs."""
        return min((_lost_us(agent) for agent in self.agents.values() if agent.running), default=None)

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
        known = np.zeros(len(quietest), np.bool_)
        if cached is not None:
            known[: len(cached[1])] = cached[1] > 0
        if grouping is self._by_agent and not measure.where:
            known[[agent.place for agent in self.agents.values() if agent.beat_us]] = True
        quietest[~known & (quietest == NOT_SILENT)] = 0
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
        started_at = None if agent is None else _start_of(agent, event)
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
        self.agents = {
            name: Agent(self._by_agent.add((name,)), running, ended, before.get(name, {}), beat_us, seen_us, repairing)
            for name, beat_us, seen_us, repairing, ended, running in agents
        }
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


def _level(counts: Sequence[int], most: int) -> int:
    """The number to which the larger of `counts`, ascending, are cut so that all add up to `most` or just below.

    So whoever has little keeps all of it.
    """
    below = 0
    for place, count in enumerate(counts):
        if below + count * (len(counts) - place) >= most:
            return (most - below) // (len(counts) - place)
        below += count
    return counts[-1]


def _patience_us(agent: Agent) -> int:
    """How long a task of this agent may be silent before it is lost."""
    if not agent.beat_us:
        return LOST_AFTER_US
    return min(MISSED_HEARTBEATS * max(agent.beat_us, SECOND_US), LOST_AFTER_US)


def _lost_us(agent: Agent) -> int:
    """When the next of the tasks that the agent runs is lost, if nothing more is heard of it."""
    return _seen_us(agent) + _patience_us(agent) + 1


def _seen_us(agent: Agent) -> int:
    """When the task that the agent runs of which nothing was heard for longest was heard of last."""
    return min([task.seen_us for task in agent.running.values()])


def _unsaid_start(event: Event, task: Running | None, at: int) -> float | None:
    """When an attempt started whose end does not say so, in seconds since 1970; None when nobody knows."""
    if task is not None:
        return task.started_at
    if event.duration_s is None:
        return None
    ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
    return ended_at - event.duration_s


def _add(gathered: Gathered, agent: Agent, event: Event, at: int) -> None:
    gathered.events.append(event)
    gathered.ts.append(at)
    gathered.place.append(agent.place)


def _start_of(agent: Agent, event: Event) -> float | None:
    """When the task started that an event is about, seconds since 1970."""
    id = event.task_id
    if id is None:
        return None
    task = agent.running.get(id)
    if task is not None:
        return task.started_at
    ended = agent.ended.get(id) or agent.before.get(id)
    return None if ended is None else ended[1]


_Tasks = tuple[
    tuple[str, ...],
    list[tuple[str | None, int, int, bool, dict[str | None, Ended], dict[str | None, Running]]],
    list[tuple[Key, str]],
    int,
    int,
]

_Silent = tuple[tuple[str, ...], list[tuple[str | None, dict[str | None, Running]]]]
