"""Whose work a part of a trace is: what only its whole trace says, and so none of its lines does.

The line of a call was written before anybody knew its task, with whatever it said of itself: mostly the service that it
ran in, and the trace. Here it gets the task of its trace, the outermost agent span or the root of the work, and the
agent whose span it lies under; what it says of itself by name, it keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from self_healing.telemetry.query.rows import Row

SPANS = ("llm_call", "tool_call", "span")
"""The kinds of events that a span may be."""

_SERVICE = "service.name"


def place_of(row: Row) -> tuple[str, str] | None:
    """The trace that an event is of and the span that it is, or that it hangs on; None when it is part of none."""
    trace = row.told["trace_id"]
    said = row.told["attributes"]
    span = said.get("span_id") or said.get("parent_id")
    return None if trace is None or not isinstance(span, str) else (trace, span)


def belonging(found: Sequence[Row], spans: Iterable[Row]) -> list[Row]:
    """The same events, those of traces with the agent and the task that they belong to.

    Args:
        found: some events.
        spans: all that is known of their traces; other events in there change nothing.
    """
    traces: dict[str, _Trace] = {}
    for row in spans:
        place = place_of(row)
        if place is not None and row.told["kind"] in SPANS and "span_id" in row.told["attributes"]:
            traces.setdefault(place[0], _Trace()).spans.setdefault(place[1], row)
    return [_belonging(row, traces) for row in found]


def _belonging(row: Row, traces: Mapping[str, _Trace]) -> Row:
    place = place_of(row)
    trace = None if place is None else traces.get(place[0])
    if place is None or trace is None or place[1] not in trace.spans:
        return row
    task = trace.task_of(place[1])
    if task is None:
        return row
    agent = trace.agent_of(row, place[1], task)
    return replace(row, told=row.told | {"agent": agent, "task_id": trace.spans[task].told["task_id"]})


@dataclass(slots=True)
class _Trace:
    """The spans of one trace, by their ids."""

    spans: dict[str, Row] = field(default_factory=dict)

    def task_of(self, span: str) -> str | None:
        """The span that is the task of `span`; None when nobody's work is known to be about it."""
        way = list(self._way_up(span))
        top = way[-1]
        if self._parent(top) is None and self._is_work(top):
            return top
        # Its root is not there, or wraps nothing that anybody does.
        return next((each for each in reversed(way) if self._role(each) == "agent"), None)

    def agent_of(self, row: Row, span: str, task: str) -> str | None:
        """Whose work an event is that is, or hangs on, `span`."""
        said: str | None = row.told["agent"]
        if said is not None and said != row.told["attributes"].get(_SERVICE):
            return said
        agents = [self.spans[each].told["agent"] for each in self._way_up(span) if self._role(each) == "agent"]
        nearest = next((agent for agent in agents if agent is not None), None)
        return nearest or self._agent_of_task(task) or said

    def _agent_of_task(self, task: str) -> str | None:
        """Of the task; what wraps the work of one agent is that agent's."""
        own: str | None = self.spans[task].told["agent"]
        if self._role(task) != "other":
            return own
        agents = {row.told["agent"] for row in self.spans.values() if row.told["attributes"].get("role") == "agent"}
        agents.discard(None)
        return agents.pop() if len(agents) == 1 else own

    def _is_work(self, root: str) -> bool:
        """Whether a root span is a task: by itself, or since some of what lies in its trace is done by somebody."""
        return self._role(root) != "other" or any(
            row.told["kind"] != "span" or row.told["attributes"].get("role") == "agent" for row in self.spans.values()
        )

    def _way_up(self, span: str) -> Iterator[str]:
        """A span and those above it, as far as they are known; ids that go round in a circle end too."""
        seen: set[str] = set()
        up: str | None = span
        while up is not None and up in self.spans and up not in seen:
            seen.add(up)
            yield up
            up = self._parent(up)

    def _parent(self, span: str) -> str | None:
        parent: str | None = self.spans[span].told["attributes"].get("parent_id")
        return parent

    def _role(self, span: str) -> str | None:
        role: str | None = self.spans[span].told["attributes"].get("role")
        return role
