"""Sessions: the work of sources that never say that a task ended, such as Claude Code and Codex.

Their tasks begin with the first event and end after ten idle minutes. Nobody knows whether one still runs meanwhile, so
it does not count by its age.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from self_healing.clock import MINUTE_US, SECOND_US
from self_healing.measures import held
from self_healing.model import Event, Ingested, Kind, Usage
from self_healing.telemetry.samples import tokens_of
from self_healing.telemetry.timestamps import encode_ts
from self_healing.telemetry.traces import NANO, NEVER, Made

SOURCES: Final = ("claude_code", "codex")
"""How the sources end that never say that a task ended."""

IDLE_US: Final = 10 * MINUTE_US
"""So long without an event ends a task."""

MOST: Final = 10_000
"""So many are open; beyond that the ones that are idle for longest end sooner."""


class Session(msgspec.Struct, gc=False, array_like=True):
    """A task that no more than its events are known of.

    Args:
        first_us, last_us: of its events.
        due_us: when it will have been idle for long enough.
        event: of its newest call, else its newest event; without its usage.
        tokens, nano_usd: of its calls.
        attempt: the largest that an event names.
        api_us: when the newest call of the model ended, or was given up.
        error_type: of that, when it failed.
    """

    first_us: int
    last_us: int
    due_us: int
    event: Ingested
    tokens: int | None = None
    nano_usd: int | None = None
    attempt: int | None = None
    api_us: int = -1
    failed: bool = False
    error_type: str | None = None
    model: str | None = None
    provider: str | None = None
    handoff_id: str | None = None


class Sessions:
    """The tasks that are open, by agent and task id."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Session] = {}
        self._due: list[tuple[int, str, str]] = []
        self.first_due_us = NEVER
        """Before this none has been idle for long enough, microseconds."""

    def add(self, event: Ingested, ts_us: int, now_us: int) -> None:
        """Take in an event.

        Args:
            event: of such a source, and of a task.
            ts_us: when it happened, microseconds.
            now_us: that, or the instant that was evaluated last when that is later.
        """
        key = (event.agent or "", event.task_id or "")
        session = self._open.get(key)
        if session is None:
            about = Ingested(agent=event.agent, task_id=event.task_id, run_id=event.run_id, trace_id=event.trace_id)
            session = self._open[key] = Session(ts_us, ts_us, 0, about)
        session.first_us, session.last_us = min(session.first_us, ts_us), max(session.last_us, ts_us)
        due_us = now_us + IDLE_US
        if due_us > session.due_us:
            session.due_us = due_us
            heappush(self._due, (due_us, *key))
            self.first_due_us = min(self.first_due_us, due_us)
        if event.attempt is not None:
            session.attempt = max(session.attempt or 1, event.attempt)
        session.handoff_id = event.handoff_id or session.handoff_id
        failed = event.status in ("failed", "timeout")
        if event.kind == "llm_call" or (event.kind == "log" and failed and event.span_id is None):
            self._hear_api(session, event, ts_us, failed=failed)

    @staticmethod
    def _hear_api(session: Session, event: Ingested, ts_us: int, *, failed: bool) -> None:
        tokens, cost = tokens_of(event.usage), None if event.usage is None else event.usage.total_usd
        if tokens is not None:
            session.tokens = held((session.tokens or 0) + tokens)
        if cost is not None:
            session.nano_usd = held((session.nano_usd or 0) + round(cost * NANO))
        if (ts_us, failed) >= (session.api_us, session.failed):
            session.api_us, session.failed = ts_us, failed
            session.error_type = event.error_type if failed else None
            session.model, session.provider = event.model or session.model, event.provider or session.provider

    def started_at(self, event: Ingested) -> float | None:
        """When the task of an event that is open began, seconds since 1970; None when it is not."""
        session = self._open.get((event.agent or "", event.task_id or ""))
        return None if session is None else session.first_us / SECOND_US

    def next_due_us(self) -> int | None:
        """When the next task will have been idle for long enough, microseconds; None when none is open."""
        while self._due and not self._is_due(*self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def decide(self, until_us: int, made: list[Made]) -> bool:
        """End the tasks that have been idle for long enough by then; `made` gets them. Whether there were any."""
        ended = False
        while (due_us := self.next_due_us()) is not None and due_us <= until_us:
            self._end_next(made)
            ended = True
        self.first_due_us = self._due[0][0] if self._due else NEVER
        return ended

    def _is_due(self, due_us: int, agent: str, task_id: str) -> bool:
        session = self._open.get((agent, task_id))
        return session is not None and session.due_us == due_us  # else it was heard of since

    def _end_next(self, made: list[Made]) -> None:
        _, agent, task_id = heappop(self._due)
        made.append(_finished(self._open.pop((agent, task_id))))

    def forget(self, made: list[Made]) -> None:
        """End what is beyond the number that is kept."""
        while len(self._open) > MOST and self.next_due_us() is not None:
            self._end_next(made)

    def pack(self) -> bytes:
        """All of it, for the state."""
        return msgspec.msgpack.encode(list(self._open.values()))

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        sessions = msgspec.msgpack.decode(packed, type=list[Session])
        self._open = {(each.event.agent or "", each.event.task_id or ""): each for each in sessions}
        self._due = [(each.due_us, *key) for key, each in self._open.items()]
        heapify(self._due)
        self.first_due_us = self._due[0][0] if self._due else NEVER


def _finished(session: Session) -> Made:
    # It ended when it had been idle for long enough: a window of five minutes would never see an earlier end.
    ts_us = session.last_us + IDLE_US
    known = (session.tokens, session.nano_usd) != (None, None)
    cost = None if session.nano_usd is None else session.nano_usd / NANO
    event = Event(
        ts=encode_ts(ts_us),
        kind="task_finished",
        task_id=session.event.task_id,
        agent=session.event.agent,
        model=session.model,
        provider=session.provider,
        attempt=session.attempt,
        status="failed" if session.failed else "success",
        started_at=session.first_us / SECOND_US,
        finished_at=session.last_us / SECOND_US,
        duration_s=(session.last_us - session.first_us) / SECOND_US,
        usage=Usage(total_tokens=session.tokens, total_usd=cost) if known else None,
        error_type=session.error_type,
        run_id=session.event.run_id,
        trace_id=session.event.trace_id,
        handoff_id=session.handoff_id,
    )
    return ts_us, Kind.TASK_FINISHED, event
