"""Running tasks: who works on what since when, what it has used so far, and what its end is worth.

Tasks are told apart by agent and task id. An attempt that starts takes the place of the one before it. What ended is
remembered for a moment, for the start that arrives after its end and the model call that arrives after its task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from self_healing.clock import DAY_US, HOUR_US, SECOND_US
from self_healing.measures import NONE_MIN, UNKNOWN_START, Ints, Measure
from self_healing.model import Event, Kind
from self_healing.telemetry.samples import Grouping, matches, tokens_of
from self_healing.telemetry.signals import GROUP_COLUMNS

MOST_RUNNING = 100_000
MOST_ENDED = 20_000
MOST_REPAIRS = 20_000
ENDED_FOR_US = HOUR_US
"""No longer than this, and no more than ``MOST_ENDED``, is remembered of what ended; half of it at least."""

MISSED_HEARTBEATS = 3
LOST_AFTER_US = DAY_US
"""When a task whose agent sends no heartbeats is given up."""

Key = tuple[str | None, str]


class Running(msgspec.Struct, gc=False):
    """An attempt that has started and not ended."""

    event: Event  # its start
    started_us: int
    seen_us: int  # its start or its newest heartbeat
    tokens: int | None = None  # the sum of its model calls so far
    cost_usd: float | None = None


class Unpaid(msgspec.Struct, gc=False):
    """The end of an attempt that did not say what it used; its model calls do, and may still come."""

    event: Event
    tokens: bool  # whether its tokens were counted
    cost_usd: bool  # whether its cost was counted


Ended = tuple[int, float | None, int, Unpaid | None]
"""An attempt that ended a moment ago: when (microseconds), its start (seconds since 1970), which attempt it was.

A plain tuple, because nearly every task leaves one behind and anything else takes ten times as long to make.
"""


@dataclass(slots=True)
class Agent:
    """The work of one agent, by task id.

    Args:
        ended: what ended last.
        before: what ended before that; forgotten as a whole when `ended` takes its place.
        beat_us: the usual gap between the heartbeats of its tasks; 0 when it sends none.
        seen_us: its newest event; 0 when all it does is repair others.
        repairs: whether it worked on a handoff.
    """

    running: dict[str, Running] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    before: dict[str, Ended] = field(default_factory=dict)
    beat_us: int = 0
    seen_us: int = 0
    repairs: bool = False


class Repair(msgspec.Struct, frozen=True):
    """A specialist's task that says how its handoff stands."""

    handoff: str
    kind: int
    status: str | None
    agent: str | None
    ts_us: int
    error: str | None


class Late(msgspec.Struct):
    """A model call whose task had already ended."""

    event: Event  # the task's end
    ts_us: int  # of the task's end
    start_us: int
    tokens: int | None
    cost_usd: float | None
    counts: tuple[str, ...] = ()  # the signals that had no sample of the task yet

    def first(self, signal: str) -> int:
        """1 when this call is the first to say anything of `signal` for its task, else 0."""
        return int(signal in self.counts)


@dataclass(slots=True)
class Folded:
    """What a stretch of events says; lists whose names begin alike belong together, element by element.

    Where a task started is only said to who asked for it, else it is ``UNKNOWN_START``.
    """

    started: list[tuple[Event, int]] = field(default_factory=list)
    finished: list[Event] = field(default_factory=list)
    finished_ts: list[int] = field(default_factory=list)
    finished_start: list[int] = field(default_factory=list)
    finished_tokens: list[int | None] = field(default_factory=list)
    finished_cost_usd: list[float | None] = field(default_factory=list)
    tests: list[Event] = field(default_factory=list)
    tests_ts: list[int] = field(default_factory=list)
    tests_start: list[int] = field(default_factory=list)
    scores: list[Event] = field(default_factory=list)
    scores_ts: list[int] = field(default_factory=list)
    scores_start: list[int] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)


class TaskTable:
    """The agents with the tasks that they run, and those that ended a moment ago."""

    def __init__(self) -> None:
        self.agents: dict[str | None, Agent] = {}
        self.repairs: dict[Key, str] = {}
        self.running = 0  # how many
        self.lost = 0
        self.version = 0
        self._ended = 0  # how many, without those before
        self._turned_us = 0  # when the ones before became that
        self._before_changed = True  # since it was last packed
        self._oldest: dict[Measure, tuple[int, Ints]] = {}

    # -- events in

    def fold(
        self, events: Sequence[Event], kinds: Sequence[int], ts: Sequence[int], *, starts: bool = True
    ) -> Folded:
        """Take in events in the order of their time; returns what they are worth.

        Args:
            kinds: of each event.
            ts: of each event, microseconds.
            starts: whether somebody wants to know when the tasks of samples started.
        """
        out = Folded()
        agents = self.agents
        # Plain numbers: looking an enum's member up takes longer than the rest of a heartbeat.
        started, finished, heartbeat, call = (
            int(Kind.TASK_STARTED),
            int(Kind.TASK_FINISHED),
            int(Kind.HEARTBEAT),
            int(Kind.LLM_CALL),
        )
        test, score = int(Kind.TEST_RUN), int(Kind.QUALITY_SCORE)
        for event, kind, at in zip(events, kinds, ts, strict=True):
            try:
                agent = agents[event.agent]
            except KeyError:
                agent = agents[event.agent] = Agent()
            if event.handoff_id is not None or agent.repairs or event.attributes:
                handoff = self._handoff_of(event)
                if handoff is not None:
                    self._repair(agent, event, kind, at, handoff, out)
                    continue
            if at > agent.seen_us:
                agent.seen_us = at
            if kind == heartbeat:
                if (task := agent.running.get(event.task_id)) is not None and (gap := at - task.seen_us) > 0:  # type: ignore[arg-type]
                    # The largest gap counts and is forgotten slowly, so that one short gap makes nobody look lost.
                    usual = agent.beat_us
                    agent.beat_us = gap if gap >= usual else usual - (usual - gap) // 10
                    task.seen_us = at
            elif kind == started:
                self._start(agent, event, at, out, starts)
            elif kind == finished:
                self._finish(agent, event, at, out, starts)
            elif kind == test:
                out.tests.append(event)
                out.tests_ts.append(at)
                out.tests_start.append(_start_of(agent, event) if starts else UNKNOWN_START)
            elif kind == call:
                if event.usage is not None:
                    self._call(agent, event, out)
            elif kind == score:
                out.scores.append(event)
                out.scores_ts.append(at)
                out.scores_start.append(_start_of(agent, event) if starts else UNKNOWN_START)
        self.version += 1
        if len(ts):
            self._forget(ts[-1])
        return out

    def _handoff_of(self, event: Event) -> str | None:
        if event.handoff_id is not None:
            return event.handoff_id
        if event.attributes and isinstance(event.attributes.get("handoff_id"), str):
            return str(event.attributes["handoff_id"])
        return self.repairs.get((event.agent, event.task_id)) if event.task_id is not None else None

    def _repair(self, agent: Agent, event: Event, kind: int, at: int, handoff: str, out: Folded) -> None:
        if kind in (Kind.TASK_STARTED, Kind.TASK_FINISHED):
            out.repairs.append(Repair(handoff, kind, event.status, event.agent, at, event.error_type))
        if event.task_id is None:
            return
        agent.repairs = True
        self.repairs[event.agent, event.task_id] = handoff
        if agent.running.pop(event.task_id, None) is not None:  # it did not say so when it started
            self.running -= 1

    def _start(self, agent: Agent, event: Event, at: int, out: Folded, starts: bool) -> None:
        id = event.task_id
        if id is None:
            return  # nothing will ever say that it ended
        start = at if event.started_at is None else round(event.started_at * SECOND_US)
        attempt = event.attempt or 1
        ended = agent.ended.get(id) or agent.before.get(id)
        if ended is not None and start <= ended[0] and attempt <= ended[2]:
            return  # its end arrived first
        task = agent.running.get(id)
        if task is None:
            if self.running >= MOST_RUNNING:
                self.lost += 1
                return
            self.running += 1
        elif attempt < (before := task.event.attempt or 1) or (attempt == before and start == task.started_us):
            return  # the next attempt arrived first, or it is told twice
        agent.running[id] = Running(event, start, start if start > at else at)
        if starts:
            out.started.append((event, start))

    def _finish(self, agent: Agent, event: Event, at: int, out: Folded, starts: bool) -> None:
        id, attempt = event.task_id, event.attempt
        task = agent.running.get(id) if id is not None else None
        overtaken = False  # by the next attempt, which started already
        if task is not None:
            running = task.event.attempt
            overtaken = attempt is not None and running is not None and attempt < running
            if not overtaken:
                del agent.running[id]  # type: ignore[arg-type]
                self.running -= 1
            if attempt != running and attempt is not None and running is not None:
                task = None  # it is another attempt's start
        started_at = event.started_at
        if started_at is None:
            started_at = event.started_at = _unsaid_start(event, task, at)
        if event.duration_s is None and started_at is not None:
            ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
            event.duration_s = max(ended_at - started_at, 0.0)
        usage, tokens, cost, unpaid = event.usage, None, None, None
        if usage is not None:
            tokens, cost = tokens_of(usage), usage.total_usd
        if tokens is None and cost is None:
            if task is not None:
                tokens, cost = task.tokens, task.cost_usd
            unpaid = Unpaid(event, tokens is not None, cost is not None)
        out.finished.append(event)
        out.finished_ts.append(at)
        out.finished_start.append(
            round(started_at * SECOND_US) if starts and started_at is not None else UNKNOWN_START
        )
        out.finished_tokens.append(tokens)
        out.finished_cost_usd.append(cost)
        if id is None or overtaken:
            return
        attempt = attempt or 1
        if task is None:
            other = agent.ended.get(id) or agent.before.get(id)
            if other is not None and other[2] > attempt and other[0] >= at:
                return  # the end of the next attempt arrived first
        agent.ended[id] = (at, started_at, attempt, unpaid)
        self._ended += 1

    def _call(self, agent: Agent, event: Event, out: Folded) -> None:
        id, usage = event.task_id, event.usage
        if id is None or usage is None:
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
        unpaid = ended[3] if ended is not None else None
        if ended is None or unpaid is None:
            return
        counts = []
        if tokens is not None and not unpaid.tokens:
            unpaid.tokens = True
            counts.append("task.tokens")
        if cost is not None and not unpaid.cost_usd:
            unpaid.cost_usd = True
            counts.append("task.cost_usd")
        self._before_changed |= bool(counts)
        out.late.append(Late(unpaid.event, ended[0], _start_of(agent, event), tokens, cost, tuple(counts)))

    def _forget(self, ts_us: int) -> None:
        """Let go of what ended too long ago, and of repairs beyond their number."""
        if self._ended > MOST_ENDED // 2 or ts_us - self._turned_us > ENDED_FOR_US // 2:
            for agent in self.agents.values():
                agent.before, agent.ended = agent.ended, {}
            self._ended, self._turned_us, self._before_changed = 0, ts_us, True
        for key in list(islice(self.repairs, max(len(self.repairs) - MOST_REPAIRS, 0))):
            del self.repairs[key]

    # -- questions

    def seen(self) -> dict[str, int]:
        """The agents that work, and when the newest event of each was, microseconds."""
        return {name: agent.seen_us for name, agent in self.agents.items() if name is not None and agent.seen_us}

    def starts(self) -> Iterator[tuple[Event, int]]:
        """The start of each running task, and when that was, microseconds."""
        for agent in self.agents.values():
            for task in agent.running.values():
                yield task.event, task.started_us

    def give_up(self, t_us: int) -> list[Event]:
        """Let go of what is lost at `t_us`: tasks after three missed heartbeats, or a day; agents after a day.

        Returns:
            The starts of the tasks.
        """
        lost: list[Event] = []
        for name, agent in list(self.agents.items()):
            if agent.running:
                lost += self._lost_of(agent, t_us)
            if agent.seen_us < t_us - DAY_US:
                agent.seen_us = 0
                if not agent.running and not agent.repairs:
                    del self.agents[name]
        self.lost += len(lost)
        self.running -= len(lost)
        self.version += bool(lost)
        return lost

    @staticmethod
    def _lost_of(agent: Agent, t_us: int) -> list[Event]:
        patience_us = LOST_AFTER_US
        if agent.beat_us:
            patience_us = min(MISSED_HEARTBEATS * max(agent.beat_us, SECOND_US), LOST_AFTER_US)
        since_us = t_us - patience_us
        lost = [id for id, task in agent.running.items() if task.seen_us < since_us]
        return [agent.running.pop(id).event for id in lost]

    def oldest(self, measure: Measure, grouping: Grouping) -> Ints:
        """The earliest start of each group's running tasks, microseconds; ``NONE_MIN`` where none runs."""
        cached = self._oldest.get(measure)
        if cached is not None and cached[0] == self.version and len(cached[1]) == len(grouping.groups):
            return cached[1]
        tasks = self._matching(measure)
        places = grouping.places([event for event, _ in tasks])
        oldest = np.full(len(grouping.groups), NONE_MIN, np.int64)
        np.minimum.at(oldest, places, np.array([start_us for _, start_us in tasks], np.int64))
        self._oldest[measure] = (self.version, oldest)
        return oldest

    def oldest_since(self, measure: Measure, grouping: Grouping, place: int, since_us: int) -> int:
        """The earliest start after `since_us` of the running tasks of one group; ``NONE_MIN`` when there is none."""
        tasks = [task for task in self._matching(measure) if task[1] > since_us]
        places = grouping.places([event for event, _ in tasks]).tolist()
        return min((start_us for (_, start_us), at in zip(tasks, places, strict=True) if at == place), default=NONE_MIN)

    def _matching(self, measure: Measure) -> list[tuple[Event, int]]:
        return [task for task in self.starts() if not measure.where or matches(task[0], measure.where)]

    # -- state

    def pack(self) -> dict[str, bytes]:
        """All of it for the state, by name; what did not change since the last time is left out."""
        agents = [
            (name, agent.beat_us, agent.seen_us, agent.repairs, agent.ended) for name, agent in self.agents.items()
        ]
        running = [
            (*_KEPT(task.event), task.started_us, task.seen_us, task.tokens, task.cost_usd)
            for agent in self.agents.values()
            for task in agent.running.values()
        ]
        rest = [list(self.repairs.items()), self.lost, self._turned_us]
        packed = {"tasks": msgspec.msgpack.encode([agents, running, *rest])}
        if self._before_changed:
            before = [(name, agent.before) for name, agent in self.agents.items() if agent.before]
            packed["ended"] = msgspec.msgpack.encode(before)
            self._before_changed = False
        return packed

    def unpack(self, packed: dict[str, bytes]) -> None:
        """Put back what :meth:`pack` gave, the newest of each name."""
        agents, running, repairs, self.lost, self._turned_us = msgspec.msgpack.decode(packed["tasks"], type=_Tasks)
        before = dict(msgspec.msgpack.decode(packed["ended"], type=list[tuple[str | None, dict[str, Ended]]]))
        self.agents = {
            name: Agent({}, ended, before.get(name, {}), beat_us, seen_us, repairing)
            for name, beat_us, seen_us, repairing, ended in agents
        }
        for row in running:
            event = _kept_event(row)
            self.agents[event.agent].running[str(event.task_id)] = Running(event, *row[len(_KEPT_COLUMNS) :])
        self.repairs = dict(repairs)
        self.running = len(running)
        self._ended = sum(len(agent.ended) for agent in self.agents.values())
        self.version += 1


def _unsaid_start(event: Event, task: Running | None, at: int) -> float | None:
    """When an attempt started whose end does not say so, in seconds since 1970; None when nobody knows."""
    if task is not None:
        return task.started_us / SECOND_US
    if event.duration_s is None:
        return None
    ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
    return ended_at - event.duration_s


def _start_of(agent: Agent, event: Event) -> int:
    """When the task started that an event is about, microseconds."""
    id = event.task_id
    if id is None:
        return UNKNOWN_START
    task = agent.running.get(id)
    if task is not None:
        return task.started_us
    ended = agent.ended.get(id) or agent.before.get(id)
    return UNKNOWN_START if ended is None or ended[1] is None else round(ended[1] * SECOND_US)


_KEPT_COLUMNS = ("task_id", "attempt", *GROUP_COLUMNS)
"""What the state keeps of the start of a running task: by what it is found, grouped and filtered."""

_KEPT = attrgetter(*_KEPT_COLUMNS)


def _kept_event(values: Iterable[Any]) -> Event:
    return Event(**dict(zip(_KEPT_COLUMNS, values, strict=False)))


_Tasks = tuple[
    list[tuple[str | None, int, int, bool, dict[str, Ended]]],
    list[tuple[Any, ...]],
    list[tuple[Key, str]],
    int,
    int,
]
