"""Calls of models and tools become samples of signals of their own, beside what they add to their tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from self_healing.model import Event, Ingested, Kind, Usage
from self_healing.telemetry.lines import SERVICE
from self_healing.telemetry.samples import Rows, Samples, amounts_of, errors_of, tokens_of

Told = tuple[int, Event, float | None]
"""A call whose task is known: when it counts, itself, and when its task started, seconds since 1970."""

CALL_SIGNALS = ("tool.errors", "tool.duration_s", "llm.duration_s", "llm.tokens", "llm.cost_usd")
"""The signals that :func:`call_samples` yields."""


class Call(msgspec.Struct, gc=False, array_like=True):
    """What a call in a trace was, until it is known whose it is."""

    kind: int
    agent: str | None  # that it names itself
    model: str | None
    provider: str | None
    tool: str | None
    status: str | None
    error_type: str | None
    duration_s: float | None
    usage: Usage | None
    run_id: str | None

    @classmethod
    def of(cls, event: Ingested) -> Call:
        """That of a span."""
        named = event.agent if event.agent != (event.attributes or {}).get(SERVICE) else None
        return cls(
            int(Kind.LLM_CALL if event.kind == "llm_call" else Kind.TOOL_CALL),
            named,
            event.model,
            event.provider,
            event.tool,
            event.status,
            event.error_type,
            event.duration_s,
            event.usage,
            event.run_id,
        )

    def event(self, agent: str | None, task_id: str | None) -> Event:
        """The same as an event of that agent and that task."""
        return Event(
            kind=Kind(self.kind).name.lower(),
            task_id=task_id,
            agent=agent,
            model=self.model,
            provider=self.provider,
            tool=self.tool,
            status=self.status,
            error_type=self.error_type,
            duration_s=self.duration_s,
            usage=self.usage,
            run_id=self.run_id,
        )


def call_samples(kind: Kind, calls: Sequence[Told]) -> Iterator[tuple[str, Samples]]:
    """The samples of calls of one kind, by signal."""
    if not calls:
        return
    events = [event for _, event, _ in calls]
    ts, started_at = [ts_us for ts_us, _, _ in calls], [started_at for _, _, started_at in calls]
    rows = Rows(events, np.array(ts, np.int64), started_at)
    durations = amounts_of(rows, [event.duration_s for event in events])
    if kind is Kind.TOOL_CALL:
        yield "tool.errors", errors_of(rows, [event.status for event in events])
        yield "tool.duration_s", durations
    else:
        usages = [event.usage for event in events]
        yield "llm.duration_s", durations
        yield "llm.tokens", amounts_of(rows, [tokens_of(usage) for usage in usages])
        yield "llm.cost_usd", amounts_of(rows, [None if usage is None else usage.total_usd for usage in usages])


class Sum(Event, gc=False):
    """What calls add up to for their task; as a call it does not count."""


class Retried(Event, gc=False):
    """That a task which has ended took more attempts (:attr:`attempt`) than were known; as a call it does not count.

    Args:
        before: how many were; None when nothing was known of them.
    """

    before: int | None = None
