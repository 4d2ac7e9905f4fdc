"""Running tasks: who works on what since when, what it has used so far, and what its end is worth.

Tasks are told apart by agent and task id. An attempt that starts takes the place of the one before it. What ended is
remembered for a moment, for the start that arrives after its end and the model call that arrives after its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from self_healing.clock import DAY_US, SECOND_US
from self_healing.measures import NONE_MIN, UNKNOWN_START, Ints, Measure
from self_healing.model import Event, Kind
from self_healing.telemetry.samples import (
    Grouping,
    duration_of,
    matches,
    tokens_of,
)

MOST_RUNNING = 100_000
MOST_ENDED = 20_000
MISSED_HEARTBEATS = 3
LOST_AFTER_US = DAY_US
"""When a task whose agent sends no heartbeats is given up."""

Key = tuple[str | None, str | None]


class Running(msgspec.Struct, gc=False):
    """An attempt that has started and not ended."""

    event: Event  # its start
    started_us: int
    seen_us: int  # its start or its newest heartbeat
    tokens: int | None = None  # the sum of its model calls so far
    cost_usd: float | None = None


class Ended(msgspec.Struct, gc=False):
    """An attempt that ended a moment ago."""

    ts_us: int
    started_us: int
    attempt: int | None
    event: Event | None = None  # its end, when its model calls are what it used
    tokens: bool = False  # whether its tokens were counted
    cost_usd: bool = False  # whether its cost was counted


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
    ts_us: int
    tokens: int | None
    cost_usd: float | None
    counts: tuple[str, ...] = ()  # the signals that had no sample of the task yet

    def first(self, signal: str) -> int:
        """1 when this call is the first to say anything of `signal` for its task, else 0."""
        return int(signal in self.counts)


@dataclass(slots=True)
class Folded:
    """What a stretch of events says, by kind; the arrays of rows are gathered by the caller."""

    started: list[tuple[Event, int]] = field(default_factory=list)  # with its start, microseconds
    finished: list[Event] = field(default_factory=list)
    finished_ts: list[int] = field(default_factory=list)
    finished_start: list[int] = field(default_factory=list)
    tokens: list[int | None] = field(default_factory=list)
    cost_usd: list[float | None] = field(default_factory=list)
    tests: list[tuple[int, int]] = field(default_factory=list)  # row and start of its task
    scores: list[tuple[int, int]] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)


class TaskTable:
    """The tasks that run, and those that ended a moment ago."""

    def __init__(self) -> None:
        self.running: dict[Key, Running] = {}
        self.ended: dict[Key, Ended] = {}
        self.repairs: dict[Key, str] = {}
        self.beat_us: dict[str | None, int] = {}
        self.lost = 0
        self.version = 0
        self._oldest: dict[Measure, tuple[int, Ints]] = {}

    # -- events in

    def fold(self, events: Sequence[Event], kinds: Sequence[int], ts: Sequence[int]) -> Folded:
        """Take in events in the order of their time; returns what they are worth."""
        out = Folded()
        started, finished, heartbeat, call = (
            int(Kind.TASK_STARTED),
            int(Kind.TASK_FINISHED),
            int(Kind.HEARTBEAT),
            int(Kind.LLM_CALL),
        )
        for row, (event, kind, at) in enumerate(zip(events, kinds, ts, strict=True)):
            if kind > Kind.QUALITY_SCORE:
                continue
            if event.handoff_id is not None or event.attributes or self.repairs:
                handoff = self._handoff_of(event)
                if handoff is not None:
                    self._repair(event, kind, at, handoff, out)
                    continue
            if kind == started:
                self._start(event, at, out)
            elif kind == finished:
                self._finish(event, at, out)
            elif kind == heartbeat:
                self._beat(event, at)
            elif kind == call:
                self._call(event, out)
            elif kind == Kind.TEST_RUN:
                out.tests.append((row, self._start_of(event)))
            elif kind == Kind.QUALITY_SCORE:
                out.scores.append((row, self._start_of(event)))
        if out.started or out.finished:
            self.version += 1
        return out

    def _handoff_of(self, event: Event) -> str | None:
        if event.handoff_id is not None:
            return event.handoff_id
        if event.attributes and isinstance(event.attributes.get("handoff_id"), str):
            return str(event.attributes["handoff_id"])
        return self.repairs.get((event.agent, event.task_id)) if event.task_id is not None else None

    def _repair(self, event: Event, kind: int, at: int, handoff: str, out: Folded) -> None:
        key = (event.agent, event.task_id)
        if kind in (Kind.TASK_STARTED, Kind.TASK_FINISHED):
            out.repairs.append(Repair(handoff, kind, event.status, event.agent, at, event.error_type))
        if event.task_id is None:
            return
        self.repairs[key] = handoff
        if len(self.repairs) > MOST_ENDED:
            del self.repairs[next(iter(self.repairs))]

    def _start(self, event: Event, at: int, out: Folded) -> None:
        key = (event.agent, event.task_id)
        start = at if event.started_at is None else round(event.started_at * SECOND_US)
        ended = self.ended.get(key)
        if ended is not None and start <= ended.ts_us and (event.attempt or 1) <= (ended.attempt or 1):
            return  # its end arrived first
        if len(self.running) >= MOST_RUNNING and key not in self.running:
            self.lost += 1
            return
        # Out and in again: the table stays in the order of starting.
        self.running.pop(key, None)
        self.running[key] = Running(event, start, max(start, at))
        out.started.append((event, start))

    def _finish(self, event: Event, at: int, out: Folded) -> None:
        key = (event.agent, event.task_id)
        task = self.running.pop(key, None) if event.task_id is not None else None
        own_tokens, own_cost = tokens_of(event.usage), event.usage.total_usd if event.usage else None
        start = UNKNOWN_START
        if event.started_at is not None:
            start = round(event.started_at * SECOND_US)
        elif task is not None:
            start = task.started_us
        else:
            seconds = duration_of(event)
            if seconds is not None:
                start = at - round(seconds * SECOND_US)
        if event.duration_s is None and event.finished_at is None and task is not None:
            event.duration_s = max(at - task.started_us, 0) / SECOND_US
        out.finished.append(event)
        out.finished_ts.append(at)
        out.finished_start.append(start)
        summed = own_tokens is None and own_cost is None
        if summed and task is not None:
            own_tokens, own_cost = task.tokens, task.cost_usd
        out.tokens.append(own_tokens)
        out.cost_usd.append(own_cost)
        if event.task_id is not None:
            self.ended.pop(key, None)
            self.ended[key] = Ended(
                at, start, event.attempt, event if summed else None, own_tokens is not None, own_cost is not None
            )
            if len(self.ended) > MOST_ENDED:
                del self.ended[next(iter(self.ended))]

    def _beat(self, event: Event, at: int) -> None:
        task = self.running.get((event.agent, event.task_id))
        if task is None:
            return
        gap = max(at - task.seen_us, 0)
        # The largest gap counts and is forgotten slowly, so that one short gap makes nobody look lost.
        usual = self.beat_us.get(event.agent, 0)
        self.beat_us[event.agent] = max(gap, usual - (usual - gap) // 10)
        task.seen_us = max(task.seen_us, at)

    def _call(self, event: Event, out: Folded) -> None:
        tokens, cost = tokens_of(event.usage), event.usage.total_usd if event.usage else None
        if tokens is None and cost is None:
            return
        key = (event.agent, event.task_id)
        task = self.running.get(key)
        if task is not None:
            if tokens is not None:
                task.tokens = (task.tokens or 0) + tokens
            if cost is not None:
                task.cost_usd = (task.cost_usd or 0.0) + cost
            return
        ended = self.ended.get(key)
        if ended is not None and ended.event is not None:
            counts = []
            if tokens is not None and not ended.tokens:
                ended.tokens = True
                counts.append("task.tokens")
            if cost is not None and not ended.cost_usd:
                ended.cost_usd = True
                counts.append("task.cost_usd")
            out.late.append(Late(ended.event, ended.ts_us, tokens, cost, tuple(counts)))

    def _start_of(self, event: Event) -> int:
        key = (event.agent, event.task_id)
        task = self.running.get(key)
        if task is not None:
            return task.started_us
        ended = self.ended.get(key)
        return UNKNOWN_START if ended is None else ended.started_us

    # -- questions

    def give_up(self, t_us: int) -> list[Event]:
        """Drop the tasks that are lost at `t_us`: three missed heartbeats, or a day without an end. Returns their starts."""
        lost: list[Key] = []
        for key, task in self.running.items():
            beat = self.beat_us.get(key[0])
            patience = LOST_AFTER_US if beat is None else min(MISSED_HEARTBEATS * max(beat, SECOND_US), LOST_AFTER_US)
            if t_us - task.seen_us > patience:
                lost.append(key)
        self.lost += len(lost)
        self.version += bool(lost)
        return [self.running.pop(key).event for key in lost]

    def oldest(self, measure: Measure, grouping: Grouping) -> Ints:
        """The earliest start of each group's running tasks, microseconds; ``NONE_MIN`` where none runs."""
        cached = self._oldest.get(measure)
        if cached is not None and cached[0] == self.version and len(cached[1]) == len(grouping.groups):
            return cached[1]
        tasks = [task for task in self.running.values() if matches(task.event, measure.where)]
        places = grouping.places([task.event for task in tasks])
        oldest = np.full(len(grouping.groups), NONE_MIN, np.int64)
        np.minimum.at(oldest, places, np.fromiter((task.started_us for task in tasks), np.int64, len(tasks)))
        self._oldest[measure] = (self.version, oldest)
        return oldest

    def oldest_since(self, measure: Measure, grouping: Grouping, place: int, since_us: int) -> int:
        """The earliest start after `since_us` of the running tasks of one group; ``NONE_MIN`` when there is none."""
        tasks = [
            task
            for task in self.running.values()
            if task.started_us > since_us and matches(task.event, measure.where)
        ]
        places = grouping.places([task.event for task in tasks])
        starts = [task.started_us for task, at in zip(tasks, places, strict=True) if at == place]
        return min(starts, default=NONE_MIN)

    # -- state

    def pack(self) -> bytes:
        """All of it as bytes, for the state."""
        return msgspec.msgpack.encode(
            [
                list(self.running.items()),
                [(key, ended) for key, ended in self.ended.items()],
                list(self.repairs.items()),
                list(self.beat_us.items()),
                self.lost,
            ]
        )

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        running, ended, repairs, beats, self.lost = msgspec.msgpack.decode(packed, type=_Packed)
        self.running = dict(running)
        self.ended = dict(ended)
        self.repairs = dict(repairs)
        self.beat_us = dict(beats)
        self.version += 1


_Packed = tuple[
    list[tuple[Key, Running]],
    list[tuple[Key, Ended]],
    list[tuple[Key, str]],
    list[tuple[str | None, int]],
    int,
]
