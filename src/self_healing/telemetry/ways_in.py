"""Ways in: by which of them events about each agent came lately, so that independent signals can be told."""

from __future__ import annotations

from collections.abc import Sequence

from self_healing.clock import DAY_US
from self_healing.model import Event, Kind

NATIVE = "native"
"""The way of what was written into the telemetry directory."""

MOST_AGENTS = 20_000
"""Of more agents, those that were heard of last; of one that is not known here, no two signals agree."""

_OF_TASKS = (Kind.TASK_FINISHED, Kind.SPAN)  # a span may be a task, which is found out later


class WaysIn:
    """The newest event of each agent, kind and way; not stored, so that a start knows of none."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[tuple[int, str], int]] = {}  # the agent that was heard of last comes last

    def see(self, events: Sequence[Event], kinds: Sequence[int], ts_us: Sequence[int]) -> None:
        """Take in events, sorted by time; repair work is nobody's word about the agent that does it."""
        # The newest of those that are alike comes last, and stays.
        alike = {
            (event.agent, kind, getattr(event, "source", None)): at
            for event, kind, at in zip(events, kinds, ts_us, strict=True)
            if event.handoff_id is None
        }
        for (agent, kind, source), at in alike.items():
            if agent is not None:
                # What a sender says of itself after the slash is its own word; the way it came is not.
                way = NATIVE if source is None else source.partition("/")[0]
                ways = self._seen.pop(agent, {})
                ways[kind, way] = max(at, ways.get((kind, way), 0))
                self._seen[agent] = ways
        while len(self._seen) > MOST_AGENTS:
            del self._seen[next(iter(self._seen))]

    def of(self, agent: str, kind: Kind, since_us: int) -> set[str]:
        """The ways by which events of that kind about `agent` came since then; at most of a day."""
        kinds = _OF_TASKS if kind in _OF_TASKS else (kind,)
        found = self._seen.get(agent, {})
        newest = max(found.values(), default=0)
        return {way for (of, way), at in found.items() if of in kinds and at >= max(since_us, newest - DAY_US)}
