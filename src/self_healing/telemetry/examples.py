"""Examples: the newest and the worst work of each agent, for the evidence about an incident.

What its series have in common is looked for in the newest alone.
"""

from __future__ import annotations

import zlib
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from self_healing.clock import MINUTE_US
from self_healing.model import OVERFLOW, Event
from self_healing.redaction import redact, without_secrets
from self_healing.telemetry.attributes import Beyond, plain
from self_healing.telemetry.samples import Finished
from self_healing.telemetry.timestamps import time_of
from self_healing.telemetry.worst import Worst, notable, weighable

PER_AGENT = 8
"""So many of the newest ended attempts are kept of each agent."""

MOST_AGENTS = 2_000
"""Of more agents, those that ended one last."""

ASIDE_FOR_US = 30 * MINUTE_US
"""The worst of this long, and of as long before it, are kept beside the newest: in all half an hour to an hour."""

MOST_ASIDE = 500
"""Of so many agents at most, each of which has up to thirty events more. One gives way once it has ended none for half
an hour or so; not before, or those of a larger fleet would drive one another out all the time."""

MOST_DESCRIBED = 256
"""Of so many of a stretch in all it is read what their lines say beyond the columns: at most half are of the worst, the
others of the newest, of each agent as many."""

MOST_OF_A_FOLD = 5_000
"""So many of the newest of a stretch of events are looked at; a live stretch is a second long."""

COLUMNS = ("model", "provider", "tool", "error_type", "run_id")
"""The columns that say how an attempt was made, beside its attributes."""

Attribute = tuple[str, str]
"""A name and its value as text."""


def _by_agent(ended: Finished, first: int) -> dict[str, list[int]]:
    """The places from `first` on of each agent's attempts; the agent that ended one last comes last."""
    found: dict[str | None, list[int]] = defaultdict(list)
    agents, events = ended.agent, ended.events
    for place in range(len(events) - 1, first - 1, -1):
        found[agents[place]].append(place)
    for place in found.pop(OVERFLOW, ()):
        found[events[place].agent].append(place)
    return {agent: places[::-1] for agent, places in reversed(found.items()) if agent is not None}


class _Aside:
    """The worst of what one agent ended."""

    __slots__ = ("_before", "now", "until_us")

    def __init__(self, at: int) -> None:
        self._before: Worst | None = None
        self.now = Worst()
        self.until_us = at + ASIDE_FOR_US

    def turn(self, at: int) -> None:
        """Make room for what comes at `at`, microseconds."""
        if at >= self.until_us:
            self._before = self.now if at < self.until_us + ASIDE_FOR_US else None
            self.now, self.until_us = Worst(), at + ASIDE_FOR_US

    def __iter__(self) -> Iterator[Event]:
        yield from self._before or ()
        yield from self.now


class Examples:
    """The newest ended attempts of each agent, and the worst."""

    def __init__(self) -> None:
        self._of: dict[str, list[Event]] = {}  # the agent that ended one last comes last
        self._aside: dict[str, _Aside] = {}  # of those that ended more than the newest, in the same order
        self._attributes: dict[str, frozenset[Attribute]] = {}  # of some agents, until they have another attempt
        self._beyond: list[Beyond] = []
        self.changed = False  # since it was last packed

    def add(self, ended: Finished, at: int) -> None:
        """Take in attempts that ended, in the order of their time.

        Args:
            at: when the newest of them ended, microseconds.
        """
        of = _by_agent(ended, max(len(ended.events) - MOST_OF_A_FOLD, 0))
        beside = [(aside.now, places) for name, places in of.items() if (aside := self._add(name, ended, places, at))]
        few = notable(ended, [places for _, places in beside], [worst.least for worst, _ in beside])
        entered: list[Event] = []
        for (worst, _), places in zip(beside, few, strict=True):
            if places:
                worst.weigh(ended, places)
                entered += worst
        self._describe(ended.events, list(of.values()), entered)
        self.changed = self.changed or bool(ended.events)
        while len(self._of) > MOST_AGENTS:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._aside.pop(oldest, None)
            self._attributes.pop(oldest, None)

    def _add(self, agent: str, ended: Finished, places: list[int], at: int) -> _Aside | None:
        """Keep the newest of an agent; returns where the worst of these are to be kept, if any are."""
        kept, aside = self._of.pop(agent, []), None
        if len(kept) + len(places) > PER_AGENT:
            aside = self._aside.pop(agent, None) or self._begin(kept, at)
            if aside is not None:
                aside.turn(at)
                self._aside[agent] = aside
        self._of[agent] = [*kept, *[ended.events[place] for place in places[-PER_AGENT:]]][-PER_AGENT:]
        self._attributes.pop(agent, None)
        return aside

    def _begin(self, kept: list[Event], at: int) -> _Aside | None:
        """A record for one more agent of which that was kept; None while no other one gives way."""
        if len(self._aside) == MOST_ASIDE:
            last = next(iter(self._aside))
            if self._aside[last].until_us > at:
                return None
            del self._aside[last]
        aside = _Aside(at)
        aside.now.weigh(weighable(kept), range(len(kept)))
        return aside

    def _describe(self, events: Sequence[Event], of: Sequence[Sequence[int]], worst: Iterable[Event]) -> None:
        """Read what the lines say beyond the columns of the worst and of the newest, :data:`MOST_DESCRIBED` at most.

        Args:
            of: the places of each agent's events; the agent that ended one last comes last.
        """
        if self._beyond:
            last = of[::-1]
            newest = (events[each[-back]] for back in range(1, PER_AGENT + 1) for each in last if len(each) >= back)
            described = sum(1 for _ in islice(filter(self.describe, worst), MOST_DESCRIBED // 2))
            deque(islice(filter(self.describe, newest), MOST_DESCRIBED - described), maxlen=0)

    def describe(self, event: Event) -> bool:
        """Read what the line of an attempt says beyond the columns, where it is known and was not read yet."""
        for beyond in self._beyond:  # noqa: SIM110 any() takes twice as long
            if beyond.describe(event):
                return True
        return False

    def expect(self, beyond: Beyond) -> None:
        """Attempts will be added whose lines say that."""
        if beyond:
            self._beyond.append(beyond)

    def expect_none_before(self, at: int | None) -> None:
        """No attempt will be added that ended before `at`, microseconds; none at all when None."""
        self._beyond = [beyond for beyond in self._beyond if at is not None and beyond.until_us >= at]

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
            ended = weighable([event])
            aside = self._add(event.agent or "", ended, [0], time_of(event))
            if aside is not None:
                aside.now.weigh(ended, [0])


def pairs(event: Event) -> Iterator[Attribute]:
    """The columns and the plain attributes of one attempt."""
    for column in COLUMNS:
        value = getattr(event, column)
        if value is not None:
            yield column, value
    yield from ((name, str(value)) for name, value in plain(event.attributes or {}).items())


def _slim(event: Event) -> Event:
    return hushed(msgspec.structs.replace(event, attributes=plain(event.attributes)) if event.attributes else event)


def hushed(event: Event) -> Event:
    """The event with no secret in its columns and its attributes, as the state may hold it."""
    texts = {name: value for name in ("error_type", "tool", "run_id") if (value := getattr(event, name)) is not None}
    quiet: dict[str, Any] = {name: redact(value) for name, value in texts.items()}
    if event.attributes:
        quiet["attributes"] = without_secrets(event.attributes)
    return msgspec.structs.replace(event, **quiet) if quiet else event
