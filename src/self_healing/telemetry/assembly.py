"""Assembly: what came otherwise than natively is put together into the events that are folded.

Spans and the logs of sessions become tasks with what they used; everything else goes on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from self_healing.measures import Ints
from self_healing.model import Event, Ingested, Kind
from self_healing.telemetry.calls import Told
from self_healing.telemetry.sessions import SOURCES, Sessions
from self_healing.telemetry.traces import CALLS, Made, Traces

Events = tuple[Sequence[Event], NDArray[np.uint8], Ints]
"""Events, the kind of each, and when it happened, microseconds; sorted by time."""

_SPANS = np.isin(np.arange(256), [Kind.SPAN, Kind.LLM_CALL, Kind.TOOL_CALL])  # whether a kind is one of these
_TAKEN = _SPANS | (np.arange(256) == Kind.LOG)


def traced(events: Sequence[Event], kind: NDArray[np.uint8]) -> bool:
    """Whether any of `events` is a part of a trace: of the task that is made of it nobody hears when it happened."""
    found = _ours((events, kind, np.zeros(len(events), np.int64)), _SPANS)
    return any(not session for _, _, _, session in found)


def _ours(events: Events, kinds: NDArray[np.bool_]) -> Iterator[tuple[int, int, Ingested, bool]]:
    """What is a part of a session or of a trace: its place, when it happened, itself, and whether it is of a session.

    Args:
        kinds: whether an event of a kind may be that.
    """
    found, kind, ts = events
    places = np.flatnonzero(kinds[kind])
    never_ends = _NeverEnds()
    for place, at in zip(places.tolist(), ts[places].tolist(), strict=True):
        if _is_ingested(type(found[place])):
            event = cast("Ingested", found[place])
            if never_ends[event.source] and event.task_id is not None:
                yield place, at, event, True
            elif event.span_id is not None and event.trace_id is not None and event.kind != "log":
                yield place, at, event, False


class _NeverEnds(dict[str | None, bool]):
    """Whether a source never says that a task ended: of the few that there are in a batch, asked once."""

    def __missing__(self, source: str | None) -> bool:
        found = self[source] = source is not None and source.endswith(SOURCES)
        return found


@cache
def _is_ingested(kind: type[Event]) -> bool:
    return issubclass(kind, Ingested)  # asked of each event, this takes longer than all else that is asked of it


class Assembly:
    """The traces and the sessions that something may still come of.

    Args:
        calls: whether somebody wants the calls in them, which :meth:`take_calls` tells.
    """

    def __init__(self, *, calls: bool = False) -> None:
        self.traces = Traces(calls=calls)
        self.sessions = Sessions()
        self._wants_calls = calls
        self._changed = False  # since it was last packed

    def learn(self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints) -> None:
        """Learn of events that came, and will be :meth:`put` when their time comes."""
        learn = self.traces.learn
        for _, at, event, session in _ours((events, kind, ts), _SPANS):
            if not session:
                learn(event, at)
                self._changed = True

    def put(self, events: Events, until_us: int | None, evaluated_us: int) -> Events:
        """What is to be folded of `events`, with the tasks that are known to have ended.

        Args:
            events: what happened.
            until_us: the instant up to which everything is told; that of the last event when None.
            evaluated_us: the newest instant that was evaluated; what comes late waits from then on.
        """
        ts = events[2]
        if until_us is None:
            until_us = int(ts[-1]) if len(ts) else evaluated_us
        made: list[Made] = []
        gone: list[int] = []
        for place, at, event, session in _ours(events, _TAKEN):
            self._take(event, at, evaluated_us, made, session=session)
            gone.append(place)
        self._decide(max(until_us, evaluated_us), made)
        if gone:
            self._changed = True
            self.traces.forget(max(until_us, evaluated_us), made)
            self.sessions.forget(made)
        return _joined(events, gone, made) if gone or made else events

    def _take(self, event: Ingested, ts_us: int, evaluated_us: int, made: list[Made], *, session: bool) -> None:
        """Take in an event that is ours; nothing else is to be made of it."""
        if ts_us > self.traces.first_due_us or ts_us > self.sessions.first_due_us:
            self._decide(ts_us - 1, made)  # in the order of time, however it is cut into batches
        now_us = ts_us if ts_us > evaluated_us else evaluated_us
        if session:
            self.sessions.add(event, ts_us, now_us)
            if self._wants_calls and event.kind in CALLS:
                self.traces.calls.append((ts_us, event, self.sessions.started_at(event)))
        else:
            self.traces.add(event, ts_us, now_us, made)
        # Its agent is at work. Of the parts of a trace that is not known: many name but the service they run in.
        if session or event.role == "agent":
            seen = Event(kind="log", agent=event.agent, task_id=event.task_id, handoff_id=event.handoff_id)
            made.append((ts_us, Kind.LOG, seen))

    def _decide(self, until_us: int, made: list[Made]) -> None:
        decided = self.traces.decide(until_us, made)
        if self.sessions.decide(until_us, made) or decided:
            self._changed = True

    def take_calls(self) -> list[Told]:
        """The calls of which it is known by now whose they are."""
        calls, self.traces.calls = self.traces.calls, []
        return calls

    def next_due_us(self) -> int | None:
        """When time alone makes a task of something next, microseconds; None when nothing waits."""
        due = [each for each in (self.traces.next_due_us(), self.sessions.next_due_us()) if each is not None]
        return min(due, default=None)

    def pack(self) -> dict[str, bytes]:
        """All of it for the state, by name; nothing when nothing changed since the last time."""
        if not self._changed:
            return {}
        self._changed = False
        return {"traces": self.traces.pack(), "sessions": self.sessions.pack()}

    def unpack(self, traces: bytes | None, sessions: bytes | None) -> None:
        """Put back what :meth:`pack` gave, the newest of each name; None where nothing was ever stored."""
        if traces is not None:
            self.traces.unpack(traces)
        if sessions is not None:
            self.sessions.unpack(sessions)


def _joined(events: Events, gone: list[int], made: list[Made]) -> Events:
    """`events` without those in the places `gone` and with what was made, sorted by time."""
    found, kind, ts = events
    kept = np.ones(len(ts), np.bool_)
    kept[np.fromiter(gone, np.intp, len(gone))] = False
    both = [found[place] for place in np.flatnonzero(kept).tolist()] + [event for _, _, event in made]
    all_ts = np.concatenate([ts[kept], np.array([ts_us for ts_us, _, _ in made], np.int64)])
    all_kinds = np.concatenate([kind[kept], np.array([kind for _, kind, _ in made], np.uint8)])
    order = np.argsort(all_ts, kind="stable")
    return [both[place] for place in order.tolist()], all_kinds[order], all_ts[order]
