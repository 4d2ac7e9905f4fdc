"""Agents: what is known of the work of each, and what a stretch of events says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from self_healing.model import Event
from self_healing.telemetry.samples import Finished, Late, Retries, Scores, Tests

Key = tuple[str | None, str]


class Running(msgspec.Struct, gc=False, array_like=True):
    """An attempt that has started and not ended."""

    started_at: float  # seconds since 1970
    seen_us: int  # its start or its newest heartbeat
    attempt: int | None
    values: tuple[str | None, ...] = ()  # of the columns by which it is grouped and filtered, beside its agent
    tokens: int | None = None  # the sum of its model calls so far
    cost_usd: float | None = None


class Unpaid(msgspec.Struct, gc=False):
    """The end of an attempt that did not say what it used, or of how many it was; its calls do, and may still come."""

    event: Event
    tokens: bool  # whether its tokens were counted
    cost_usd: bool  # whether its cost was counted
    paid: bool = False  # whether it said itself what it used, to which its calls add nothing


Ended = tuple[int, float | None, int, Unpaid | None]
"""An attempt that ended a moment ago: when (microseconds), its start (seconds since 1970), which attempt it was.

A plain tuple, because nearly every task leaves one behind and anything else takes ten times as long to make.
"""


Log = list[tuple[str | None, str | None, Running, int, bool]]
"""Tasks that begin to run or no longer do, in order: agent, id, the task, when (microseconds), whether it begins."""


@dataclass(slots=True)
class Agent:
    """The work of one agent, by task id.

    Args:
        place: of its group.
        ended: what ended last.
        before: what ended before that; forgotten as a whole when `ended` takes its place.
        beat_us: the usual gap between the heartbeats of its tasks; 0 when it sends none.
        seen_us: its newest event; 0 when all it does is repair others.
        repairs: whether it worked on a handoff.
        silent: tasks that were lost because they missed heartbeats, and did not end since; kept where a trigger asks.
    """

    place: int
    running: dict[str | None, Running] = field(default_factory=dict)
    ended: dict[str | None, Ended] = field(default_factory=dict)
    before: dict[str | None, Ended] = field(default_factory=dict)
    beat_us: int = 0
    seen_us: int = 0
    repairs: bool = False
    silent: dict[str | None, Running] = field(default_factory=dict)


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
