"""Telemetry: events, what they say of use, and how many there were."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import msgspec

from self_healing.model.base import Record


class Kind(IntEnum):
    """What an event says happened; the numbers are codes in columns, never stored."""

    TASK_STARTED = 0  # an attempt at a task began
    TASK_FINISHED = 1  # an attempt at a task ended, whatever its status
    HEARTBEAT = 2  # a task is still running
    LLM_CALL = 3  # one call of a model ended
    TOOL_CALL = 4  # one call of a tool ended
    TEST_RUN = 5  # tests ran
    QUALITY_SCORE = 6  # somebody or something scored a task's result
    ORCHESTRATOR_STARTED = 7  # the fleet's own orchestrator started
    ORCHESTRATOR_FINISHED = 8  # the fleet's own orchestrator finished
    LOG = 9  # anything else
    OWN = 10  # our own self_healing_* lines; neither counted nor read
    SPAN = 11  # a part of a trace that is no call of a model or a tool; may turn out to be a task
    METRIC = 12  # one point of a metric that its sender had aggregated already


KindName = Literal[
    "task_started",
    "task_finished",
    "heartbeat",
    "llm_call",
    "tool_call",
    "test_run",
    "quality_score",
    "orchestrator_started",
    "orchestrator_finished",
    "log",
    "span",
    "metric",
]
"""What a line calls the kinds above; our own have no place here."""

StatusName = Literal["success", "failed", "timeout", "canceled"]
"""What a line calls how an attempt ended."""


class Status(IntEnum):
    """How an attempt ended; the numbers are codes in columns, never stored."""

    UNKNOWN = 0  # the event does not say
    SUCCESS = 1  # it did what it was asked
    FAILED = 2  # it ended with an error
    TIMEOUT = 3  # it ran out of time
    CANCELED = 4  # somebody stopped it; not an error, not a success


class Usage(msgspec.Struct, gc=False, omit_defaults=True):
    """What an attempt or a call used; None is unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    total_usd: float | None = None


class Event(msgspec.Struct, gc=False, rename={"kind": "type", "task_id": "id", "quality": "q"}):
    """One line of native telemetry, decoded straight from its bytes; the engine reads it by columns.

    ``gc=False``: millions of these live for a moment, hold no cycles, and must not make the collector pause.
    """

    ts: str | None = None  # ISO 8601; parsed for a whole batch at once
    kind: str = "log"
    task_id: str | None = None
    agent: str | None = None
    model: str | None = None
    provider: str | None = None
    attempt: int | None = None  # 1 is the first
    status: str | None = None  # success, failed, timeout, canceled
    started_at: float | None = None  # seconds since 1970
    finished_at: float | None = None  # seconds since 1970
    duration_s: float | None = None
    usage: Usage | None = None
    passed: int | None = None  # tests
    failed: int | None = None  # tests
    quality: float | None = None  # 0..1
    error_type: str | None = None
    tool: str | None = None
    run_id: str | None = None
    trace_id: str | None = None
    handoff_id: str | None = None  # this is repair work for that handoff, and feeds no trigger
    attributes: dict[str, Any] | None = None


class Ingested(Event, gc=False, omit_defaults=True):
    """An event that did not come in a native file, as our own segments hold it: an event and where it came from.

    A span that is a call of a model or a tool is an `llm_call` or a `tool_call`; any other is a `span`, and whether it
    is a task is found out when it is folded, once its trace is known.
    """

    source: str | None = None  # the way in, and what sent it where that is known, such as otlp/pydantic_ai
    span_id: str | None = None  # hex
    parent_id: str | None = None  # hex; None for a root span
    role: str | None = None  # of a span: agent, model, tool or other; of a score that its parent carries: score 1, ...
    call_id: str | None = None  # of a tool call; a repeated one after a failure is another attempt


class Accounting(Record, frozen=True, kw_only=True):
    """What became of every event, since the state began; the two equations hold at every moment.

    ``received = accepted + sum(rejected)`` and ``accepted = aggregated + sum(quarantined) + sum(dropped) + in_flight``.
    """

    received: int = 0
    accepted: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    aggregated: int = 0
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    in_flight: int = 0
    late: int = 0  # of the aggregated: older than the newest instant that was evaluated when they came
    traces_lost: int = 0  # forgotten with calls that no task had taken; their events are aggregated all the same
