"""Log records at the edges: which of their times, which of their names, and what is only a log."""

from __future__ import annotations

from typing import Any

import pytest

from self_healing.telemetry.otlp import Rejection
from tests.unit.telemetry.otlp.bodies import START_NS, TRACE, event, record, rejected

SCORE = {"gen_ai.evaluation.score.value": 0.5, "gen_ai.evaluation.name": "Relevance"}


@pytest.mark.parametrize(
    ("said", "fields", "second"),
    [
        ({"event.timestamp": "2026-01-05T10:00:05Z"}, {"observedTimeUnixNano": str(START_NS + 9_000_000_000)}, "00"),
        ({"event.timestamp": "2026-01-05T10:00:05Z"}, {"timeUnixNano": "0"}, "05"),
        (
            {"event.timestamp": "yesterday"},
            {"timeUnixNano": "0", "observedTimeUnixNano": str(START_NS + 9_000_000_000)},
            "09",
        ),
    ],
)
def test_a_record_happened_at_its_time_else_as_it_says_else_when_it_was_observed(
    said: dict[str, Any], fields: dict[str, Any], second: str
) -> None:
    assert event(record(said, **fields)).ts == f"2026-01-05T10:00:{second}.000000Z"


@pytest.mark.parametrize(
    ("said", "fields", "reason"),
    [
        ({}, {"timeUnixNano": "0"}, Rejection.UNDATED),
        ({"event.timestamp": "1850-01-01T00:00:00Z"}, {"timeUnixNano": "0"}, Rejection.UNDATED),
        ({}, {"traceId": "abcd"}, Rejection.INVALID_ID),
        ({}, {"spanId": "abcd"}, Rejection.INVALID_ID),
    ],
)
def test_a_record_that_can_never_be_used_is_rejected(
    said: dict[str, Any], fields: dict[str, Any], reason: Rejection
) -> None:
    assert rejected(record(said, **fields)) == {reason: 1}


def test_a_plain_record_is_a_log_with_its_words() -> None:
    found = event(record({"a": 1}, body={"stringValue": "hello"}, severityText="WARN", traceId=TRACE))
    assert (found.kind, found.status, found.task_id) == ("log", None, TRACE)
    assert found.attributes == {"a": 1, "body": "hello", "severity": "WARN"}


def test_the_body_of_an_event_is_its_content_and_is_not_kept() -> None:
    found = event(record(eventName="gen_ai.user.message", body={"stringValue": "a secret"}))
    assert found.attributes == {"event.name": "gen_ai.user.message"}


def test_a_record_is_part_of_its_span_and_not_the_span() -> None:
    found = event(record(traceId=TRACE, spanId="ab" * 8))
    assert (found.span_id, found.parent_id) == (None, "ab" * 8)


@pytest.mark.parametrize(
    "fields",
    [{"eventName": "gen_ai.evaluation.result"}, {"body": {"stringValue": "gen_ai.evaluation.result"}}],
)
def test_an_evaluation_is_a_score(fields: dict[str, Any]) -> None:
    found = event(record(SCORE | {"gen_ai.conversation.id": "c"}, **fields))
    assert (found.kind, found.quality, found.task_id) == ("quality_score", 0.5, "c")


def test_an_exception_of_a_call_is_a_log_since_its_span_tells_the_same() -> None:
    found = event(record({"exception.type": "TimeoutError"}, eventName="gen_ai.client.operation.exception"))
    assert (found.kind, found.status, found.error_type) == ("log", "timeout", "TimeoutError")


def test_the_attribute_names_an_event_where_its_field_names_a_line_of_source() -> None:
    said = {"event.name": "codex.sse_event", "event.kind": "response.failed"}
    found = event(record(said, eventName="event otel/src/events/session_telemetry.rs:725"))
    assert (found.kind, (found.attributes or {})["event.name"]) == ("llm_call", "codex.sse_event")


def test_a_streamed_event_lasts_no_call_since_it_says_how_long_it_was_waited_for() -> None:
    said = {"event.name": "codex.sse_event", "event.kind": "response.failed", "duration_ms": "5"}
    assert event(record(said)).duration_s is None


@pytest.mark.parametrize("name", ["claude_code.api_request", "api_request"])
def test_an_event_is_known_with_and_without_the_name_of_its_source(name: str) -> None:
    said = {"event.name": name, "model": "m", "input_tokens": 1, "cost_usd": 0.5}
    found = event(record(said, scope="com.anthropic.claude_code.events"))
    assert (found.kind, found.source, found.usage and found.usage.total_usd) == ("llm_call", "otlp/claude_code", 0.5)


def test_a_duration_says_when_a_call_began() -> None:
    found = event(record({"event.name": "claude_code.api_request", "duration_ms": 1500}))
    assert (found.started_at, found.finished_at, found.duration_s) == (1767607198.5, 1767607200.0, 1.5)


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        ({"event.name": "codex.api_request", "success": "false"}, "llm_call", "failed"),
        ({"event.name": "codex.api_request", "http.response.status_code": 504}, "llm_call", "timeout"),
        ({"event.name": "codex.api_request", "http.response.status_code": 200}, "log", None),
        ({"event.name": "codex.sse_event", "event.kind": "response.failed"}, "llm_call", "failed"),
        ({"event.name": "codex.sse_event", "event.kind": "response.created"}, "log", None),
        ({"event.name": "codex.sse_event", "event.kind": "response.completed"}, "log", None),
        (
            {"event.name": "codex.sse_event", "event.kind": "response.completed", "error.message": "e"},
            "llm_call",
            "failed",
        ),
        ({"event.name": "codex.sse_event", "event.kind": "response.created", "error.message": "e"}, "log", "failed"),
        (
            {"event.name": "codex.websocket_connect", "http.response.status_code": 101, "success": "true"},
            "log",
            "success",
        ),
        ({"event.name": "codex.websocket_request", "success": "false"}, "llm_call", "failed"),
    ],
)
def test_of_what_codex_tells_twice_each_call_counts_once(said: dict[str, Any], kind: str, status: str | None) -> None:
    found = event(record(said))
    assert (found.kind, found.status) == (kind, status)
