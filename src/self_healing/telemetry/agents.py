"""Agents: what is known of the work of each, and what a stretch of events says of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import count

import msgspec

from self_healing.clock import DAY_US, SECOND_US
from self_healing.measures import NONE_MIN
from self_healing.model import Event
from self_healing.telemetry.samples import Finished, Late, Retries, Scores, Tests

Key = tuple[str | None, str]

MISSED_HEARTBEATS = 3
LOST_AFTER_US = DAY_US
"""When a task whose agent sends no heartbeats is given up."""

_numbers = count()


class Running(msgspec.Struct, gc=False, array_like=True):
    """An attempt that has started and not ended."""

    started_at: float  # seconds since 1970
    seen_us: int  # its start or its newest heartbeat
    attempt: int | None
    values: tuple[str | None, ...] = ()  # of the columns by which it is grouped and filtered, beside its agent
    tokens: int | None = None  # the sum of its model calls so far
    cost_usd: float | None = None
    told_us: int = 0  # when its start was told; only where somebody asks what ran when


class Unpaid(msgspec.Struct, gc=False):
    """The end of an attempt that did not say all it used, or of how many it was; its calls do, and may still come."""

    event: Event
    tokens: bool  # whether its tokens were counted
    cost_usd: bool  # whether its cost was counted


Ended = tuple[int, float | None, int, Unpaid | None]
"""An attempt that ended a moment ago: when (microseconds), its start (seconds since 1970), which attempt it was.

A plain tuple, because nearly every task leaves one behind and anything else takes ten times as long to make.
"""


@dataclass(slots=True, eq=False)
class Agent:
    """The work of one agent, by task id.

    Args:
        name: under which it is kept.
        place: of its group.
        ended: what ended last.
        before: what ended before that; forgotten as a whole when `ended` takes its place.
        seen_us: its newest event; 0 when all it does is repair others.
        repairs: whether it worked on a handoff.
        silent: tasks that were lost because they missed heartbeats, and did not end since; kept where a trigger asks.
        number: tells it apart from any other, also of the same name.
        due_us: none of the tasks that run is lost before; for the order of what is due.
        beat_us, patience_us: the usual gap between heartbeats, and how long a task may be silent before it is lost; as
            :meth:`beats` sets them.
        beats_since_us: when it was first known to send any.
    """

    name: str | None
    place: int
    running: dict[str | None, Running] = field(default_factory=dict)
    ended: dict[str | None, Ended] = field(default_factory=dict)
    before: dict[str | None, Ended] = field(default_factory=dict)
    seen_us: int = 0
    repairs: bool = False
    silent: dict[str | None, Running] = field(default_factory=dict)
    number: int = field(default_factory=_numbers.__next__)
    due_us: int = NONE_MIN
    beat_us: int = 0
    patience_us: int = LOST_AFTER_US
    beats_since_us: int = 0

    def beats(self, gap_us: int) -> None:
        """The usual gap between the heartbeats of its tasks is `gap_us`; 0 when it sends none."""
        self.beat_us = gap_us
        missed_us = MISSED_HEARTBEATS * max(gap_us, SECOND_US)
        self.patience_us = min(missed_us, LOST_AFTER_US) if gap_us else LOST_AFTER_US

    def lost_us(self) -> int:
        """When the next of the tasks that run is lost, if nothing more is heard of it; ``NONE_MIN`` when none runs."""
        if not self.running:
            return NONE_MIN
        return min([task.seen_us for task in self.running.values()]) + self.patience_us + 1

    def ended_of(self, id: str | None) -> Ended | None:
        """What is remembered of a task that ended; None when that is nothing."""
        return self.ended.get(id) or self.before.get(id)


@dataclass(slots=True)
class Over:
    """Tasks that no longer run, one element each: in columns, for to read each task again would cost more than this.

    Args:
        places: of their agents.
        started_at: when they started, seconds since 1970.
        told_us: when that was told.
        until_us: when they were over.
        tasks: with their agents and ids.
    """

    places: array[int] = field(default_factory=lambda: array("q"))
    started_at: array[float] = field(default_factory=lambda: array("d"))
    told_us: array[int] = field(default_factory=lambda: array("q"))
    until_us: array[int] = field(default_factory=lambda: array("q"))
    tasks: list[tuple[Agent, str | None, Running]] = field(default_factory=list)

    def add(self, agent: Agent, id: str | None, task: Running, at: int) -> None:
        """A task is over at `at`."""
        self.places.append(agent.place)
        self.started_at.append(task.started_at)
        self.told_us.append(task.told_us)
        self.until_us.append(at)
        self.tasks.append((agent, id, task))


@dataclass(slots=True)
class Quiet:
    """How long tasks of agents that send heartbeats were silent, one element a silence.

    Args:
        places: of their agents.
        seen_us: the sign of life before it.
        from_us: when it was known to be one; that of a task that began before its agent's first heartbeat is no sooner.
        until_us: the sign of life after it, or when the task was over.
        tasks: with their agents and ids.
    """

    places: array[int] = field(default_factory=lambda: array("q"))
    seen_us: array[int] = field(default_factory=lambda: array("q"))
    from_us: array[int] = field(default_factory=lambda: array("q"))
    until_us: array[int] = field(default_factory=lambda: array("q"))
    tasks: list[tuple[Agent, str | None, Running]] = field(default_factory=list)

    @property
    def times(self) -> tuple[array[int], ...]:
        """The columns that are times."""
        return self.seen_us, self.from_us, self.until_us

    def add(self, agent: Agent, id: str | None, task: Running, until_us: int) -> None:
        """Nothing was heard of a task since its newest sign of life until then."""
        if agent.beat_us:
            self.places.append(agent.place)
            self.seen_us.append(task.seen_us)
            self.from_us.append(max(task.seen_us, agent.beats_since_us))
            self.until_us.append(until_us)
            self.tasks.append((agent, id, task))


class Repair(msgspec.Struct, frozen=True):
    """A specialist's task that says how its handoff stands."""

    handoff: str
    kind: int
    status: str | None
    agent: str | None
    ts_us: int
    error: str | None


@dataclass(slots=True)
class Folded:
    """What a stretch of events says.

    When tasks started is only said to who asks for it; else `started` is empty.
    """

    started: list[tuple[Event, int]] = field(default_factory=list)
    finished: Finished = field(default_factory=Finished)
    tests: Tests = field(default_factory=Tests)
    scores: Scores = field(default_factory=Scores)
    late: Late = field(default_factory=Late)
    retries: Retries = field(default_factory=Retries)
    repairs: list[Repair] = field(default_factory=list)
    repairing: list[tuple[Event, int]] = field(default_factory=list)  # all events of repair work, and when they were
