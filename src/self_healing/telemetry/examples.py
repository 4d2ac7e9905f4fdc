"""Examples: the newest work of each agent, for the evidence about an incident and what its series have in common."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from self_healing.model import Event
from self_healing.redaction import redact, without_secrets

PER_AGENT = 8
"""So many of the newest ended attempts are kept of each agent."""

MOST_AGENTS = 2_000
"""Of more agents, those that ended one last."""

MOST_OF_A_FOLD = 5_000
"""So many of the newest of a stretch of events are looked at; a live stretch is a second long."""

MOST_ATTRIBUTES = 32
LONGEST_VALUE = 200  # characters
COLUMNS = ("model", "provider", "tool", "error_type", "run_id")
"""The columns that say how an attempt was made, beside its attributes."""

Attribute = tuple[str, str]
"""A name and its value as text."""


def newest(agents: Sequence[str | None]) -> list[int]:
    """Which of ended attempts are among the newest of their agents, as many as are kept; ascending.

    Args:
        agents: of each attempt, in the order of their time.
    """
    chosen: list[int] = []
    found: dict[str | None, int] = {None: PER_AGENT}
    for place in range(len(agents) - 1, -1, -1):
        agent = agents[place]
        count = found.get(agent, 0)
        if count < PER_AGENT:
            found[agent] = count + 1
            chosen.append(place)
    chosen.reverse()
    return chosen


class Examples:
    """The newest ended attempts of each agent."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Event]] = {}  # the agent that ended one last comes last
        self._attributes: dict[str, frozenset[Attribute]] = {}  # of some agents, until they have another attempt
        self.changed = False  # since it was last packed

    def add(self, events: Sequence[Event]) -> None:
        """Take in attempts that ended, in the order of their time."""
        latest = events[-MOST_OF_A_FOLD:]
        for place in newest([event.agent for event in latest]):
            event = latest[place]
            if event.agent is not None:
                kept = self._of.pop(event.agent, None)
                if kept is None:
                    kept = deque(maxlen=PER_AGENT)
                kept.append(event)
                self._of[event.agent] = kept
                self._attributes.pop(event.agent, None)
        self.changed = self.changed or bool(events)
        while len(self._of) > MOST_AGENTS:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._attributes.pop(oldest, None)

    def of(self, agent: str) -> list[Event]:
        """What is kept of one agent, oldest first."""
        return list(self._of.get(agent, ()))

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
        kept = [_slim(event) for events in self._of.values() for event in events]
        return zlib.compress(msgspec.msgpack.encode(kept), 1)

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        for event in msgspec.msgpack.decode(zlib.decompress(packed), type=list[Event]):
            self._of.setdefault(event.agent or "", deque(maxlen=PER_AGENT)).append(event)
        self._attributes.clear()


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
