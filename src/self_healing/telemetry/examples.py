"""Examples: the newest and the worst work of each agent, for the evidence about an incident.

What its series have in common is looked for in the newest alone.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from self_healing.clock import MINUTE_US
from self_healing.model import Event
from self_healing.redaction import redact, without_secrets
from self_healing.telemetry.samples import Finished
from self_healing.telemetry.timestamps import time_of
from self_healing.telemetry.worst import Worst, weighable

PER_AGENT = 8
"""So many of the newest ended attempts are kept of each agent."""

MOST_AGENTS = 2_000
"""Of more agents, those that ended one last."""

FEW = 16
"""So few are all taken rather than weighed."""

ASIDE_FOR_US = 30 * MINUTE_US
"""The worst of this long, and of as long before it, are kept beside the newest: in all half an hour to an hour."""

MOST_ASIDE = 500
"""Of so many agents at most, each of which has up to thirty events more. One gives way once it has ended none for half
an hour or so; not before, or those of a larger fleet would drive one another out all the time."""

MOST_BESIDE = 100
"""Of so many of each agent at most, before its newest of a stretch, the worst have all that their lines say."""

MOST_OF_A_FOLD = 5_000
"""So many of the newest of a stretch of events are looked at; a live stretch is a second long."""

MOST_ATTRIBUTES = 32
LONGEST_VALUE = 200  # characters
COLUMNS = ("model", "provider", "tool", "error_type", "run_id")
"""The columns that say how an attempt was made, beside its attributes."""

Attribute = tuple[str, str]
"""A name and its value as text."""


def telling(events: Sequence[Event]) -> list[int]:
    """Which of ended attempts, in the order of their time, may be kept: of each agent the newest and the worst."""
    chosen: list[int] = []
    for places in _by_agent(events, 0).values():
        chosen += places[-PER_AGENT:]
        earlier = places[-PER_AGENT - MOST_BESIDE : -PER_AGENT]
        if len(earlier) > FEW:
            worst = Worst()
            worst.weigh(weighable([events[place] for place in earlier]), range(len(earlier)))
            kept = {id(event) for event in worst}
            earlier = [place for place in earlier if id(events[place]) in kept]
        chosen += earlier
    return chosen


def _by_agent(events: Sequence[Event], first: int) -> dict[str, list[int]]:
    """The places from `first` on of each agent's attempts; the agent that ended one last comes last."""
    found: dict[str | None, list[int]] = defaultdict(list)
    for place in range(len(events) - 1, first - 1, -1):
        found[events[place].agent].append(place)
    return {agent: places[::-1] for agent, places in reversed(found.items()) if agent is not None}


class _Aside:
    """The worst of what one agent ended."""

    __slots__ = ("_before", "_now", "until_us")

    def __init__(self, at: int) -> None:
        self._before: Worst | None = None
        self._now = Worst()
        self.until_us = at + ASIDE_FOR_US

    def weigh(self, ended: Finished, places: Sequence[int], at: int) -> None:
        """Take in attempts by their places, at `at`, microseconds."""
        if at >= self.until_us:
            self._before = self._now if at < self.until_us + ASIDE_FOR_US else None
            self._now, self.until_us = Worst(), at + ASIDE_FOR_US
        self._now.weigh(ended, places)

    def __iter__(self) -> Iterator[Event]:
        yield from self._before or ()
        yield from self._now


class Examples:
    """The newest ended attempts of each agent, and the worst."""

    def __init__(self) -> None:
        self._of: dict[str, list[Event]] = {}  # the agent that ended one last comes last
        self._aside: dict[str, _Aside] = {}  # of those that ended more than the newest, in the same order
        self._attributes: dict[str, frozenset[Attribute]] = {}  # of some agents, until they have another attempt
        self.changed = False  # since it was last packed

    def add(self, ended: Finished, at: int) -> None:
        """Take in attempts that ended, in the order of their time.

        Args:
            at: when the newest of them ended, microseconds.
        """
        first = max(len(ended.events) - MOST_OF_A_FOLD, 0)
        for agent, places in _by_agent(ended.events, first).items():
            self._add(agent, ended, places, at)
        self.changed = self.changed or bool(ended.events)
        while len(self._of) > MOST_AGENTS:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._aside.pop(oldest, None)
            self._attributes.pop(oldest, None)

    def _add(self, agent: str, ended: Finished, places: list[int], at: int) -> None:
        kept = self._of.pop(agent, [])
        if len(kept) + len(places) > PER_AGENT:
            aside = self._aside.pop(agent, None) or self._begin(kept, at)
            if aside is not None:
                aside.weigh(ended, places, at)
                self._aside[agent] = aside
        events = ended.events
        self._of[agent] = [*kept, *[events[place] for place in places[-PER_AGENT:]]][-PER_AGENT:]
        self._attributes.pop(agent, None)

    def _begin(self, kept: list[Event], at: int) -> _Aside | None:
        """A record for one more agent of which that was kept; None while no other one gives way."""
        if len(self._aside) == MOST_ASIDE:
            last = next(iter(self._aside))
            if self._aside[last].until_us > at:
                return None
            del self._aside[last]
        aside = _Aside(at)
        aside.weigh(weighable(kept), range(len(kept)), at)
        return aside

    def of(self, agent: str) -> list[Event]:
        """The newest of one agent, oldest first."""
        return list(self._of.get(agent, ()))

    def worst(self, agent: str, since_us: int) -> list[Event]:
        """Of what one agent ended before its newest, but not before `since_us`, that which was worst in some way."""
        return [event for event in self._beside(agent) if time_of(event) >= since_us]

    def _beside(self, agent: str) -> list[Event]:
        """What of one agent is kept beside its newest, oldest first."""
        newest = {id(event) for event in self._of.get(agent, ())}
        found = {id(event): event for event in self._aside.get(agent, ()) if id(event) not in newest}
        return sorted(found.values(), key=time_of)

    def attributes(self, agent: str) -> frozenset[Attribute]:
        """Whatever some attempt of the agent had: columns, and attributes that are text, numbers or yes and no."""
        known = self._attributes.get(agent)
        if known is None:
            known = frozenset(pair for event in self._of.get(agent, ()) for pair in pairs(event))
            if agent in self._of:
                self._attributes[agent] = known
        return known

    def of_others(self, agents: Collection[str], most: int) -> list[Event]:
        """So many attempts, at most, of other agents than these, of those that ended one last."""
        others = (event for agent in reversed(self._of) if agent not in agents for event in self._of[agent])
        return list(islice(others, most))

    def pack(self) -> bytes:
        """All of it, for the state."""
        self.changed = False
        kept = [_slim(event) for agent, newest in self._of.items() for event in (*self._beside(agent), *newest)]
        return zlib.compress(msgspec.msgpack.encode(kept), 1)

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        for event in msgspec.msgpack.decode(zlib.decompress(packed), type=list[Event]):
            self._add(event.agent or "", weighable([event]), [0], time_of(event))


def pairs(event: Event) -> Iterator[Attribute]:
    """The columns and the plain attributes of one attempt."""
    for column in COLUMNS:
        value = getattr(event, column)
        if value is not None:
            yield column, value
    yield from ((name, str(value)) for name, value in plain(event.attributes or {}).items())


def plain(attributes: dict[str, object]) -> dict[str, object]:
    """Those that say something plain, as many as are kept."""
    found = ((name, value) for name, value in attributes.items() if _is_plain(value))
    return dict(islice(found, MOST_ATTRIBUTES))


def _is_plain(value: object) -> bool:
    match value:
        case str():
            return len(value) <= LONGEST_VALUE
        case int():
            return -(1 << 63) <= value < 1 << 63  # the state holds no larger ones
        case _:
            return isinstance(value, float)


def _slim(event: Event) -> Event:
    return hushed(msgspec.structs.replace(event, attributes=plain(event.attributes)) if event.attributes else event)


def hushed(event: Event) -> Event:
    """The event with no secret in its columns and its attributes, as the state may hold it."""
    texts = {name: value for name in ("error_type", "tool", "run_id") if (value := getattr(event, name)) is not None}
    quiet: dict[str, Any] = {name: redact(value) for name, value in texts.items()}
    if event.attributes:
        quiet["attributes"] = without_secrets(event.attributes)
    return msgspec.structs.replace(event, **quiet) if quiet else event
