"""Log records into events: the calls, tool results and scores that some sources log, and plain logs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from self_healing.model import Ingested
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp.cells import attempt_of, cells_of, failure, kept_of, score, usage_of
from self_healing.telemetry.otlp.items import normalised
from self_healing.telemetry.otlp.json_body import LogsRequest, decode_json
from self_healing.telemetry.otlp.names import (
    EVENT_SOURCES,
    EVENTS,
    FAILURES,
    LOGS_ONLY,
    ONLY_FAILED,
    PROVIDER_OF,
    RESPONSE_BROKEN,
    RESPONSE_FAILED,
    SOURCE_OF,
    STREAMED,
)
from self_healing.telemetry.otlp.plan import READERS, Origin, origin_of, plan_for
from self_healing.telemetry.otlp.protobuf_body import decode_protobuf
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.otlp.values import TEXT_MAX
from self_healing.telemetry.pricing import put_price
from self_healing.telemetry.timestamps import UNREAD, encode_micros, parse_one

Row = dict[str, Any]


def logs(body: bytes, *, json: bool = False) -> Normalised:
    """The events of an ``ExportLogsServiceRequest``, one a record.

    Args:
        body: the request, decompressed.
        json: it is OTLP/JSON; else it is protobuf.

    Raises:
        Undecodable: it is no such request.
    """
    if json:
        request = cast("ExportLogsServiceRequest", decode_json(body, LogsRequest))
    else:
        request = decode_protobuf(body, ExportLogsServiceRequest)
    return normalised(_records(request), lambda record, origin: [_event(record, origin)], body=body)


def _records(request: ExportLogsServiceRequest) -> Iterator[tuple[LogRecord, Origin]]:
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            origin = origin_of(scope_logs.scope.name, resource_logs.resource.attributes)
            for record in scope_logs.log_records:
                yield record, origin


def _event(record: LogRecord, origin: Origin) -> Ingested:
    """The event of one record.

    Raises:
        BadItem: it cannot be used.
    """
    trace_id, parent_id = _ids(record)
    name = _name(record)
    told = _source_told(name)
    plan, pairs = plan_for(origin, record.attributes, told)
    row: Row = dict(zip(READERS, cells_of(plan, pairs), strict=True))
    if name and plan.source in LOGS_ONLY and not told:  # the names of its events come without their prefix
        name = f"{plan.source}.{name}"
    kind = _kind(name, row)
    at_us = _time_us(record, row["event_time"])
    kept = kept_of(plan, pairs, origin)
    kept |= _said(record, name)
    failed = not _succeeded(name, row)
    duration_s = None if row["duration_ms"] is None or name == STREAMED else row["duration_ms"] / 1000
    event = Ingested(
        ts=encode_micros(at_us),
        kind=kind,
        source=SOURCE_OF[plan.source],
        task_id=row["task_id"] or trace_id,
        agent=row["agent"],
        model=row["model"],
        provider=row["provider"] or PROVIDER_OF.get(plan.source),
        attempt=attempt_of(row["attempt"], row["resends"]),
        status=_status(kind, row, failed),
        finished_at=at_us / 1e6 if duration_s is not None else None,
        started_at=max(at_us / 1e6 - duration_s, 0.0) if duration_s is not None else None,
        duration_s=duration_s,
        error_type=row["error_type"] if failed else None,
        tool=row["tool"],
        run_id=row["run_id"],
        trace_id=trace_id,
        parent_id=parent_id,
        handoff_id=row["handoff_id"],
        call_id=row["call_id"],
        attributes=kept,
    )
    if kind == "llm_call":
        _add_usage(event, row, plan.source, at_us / 1e6)
    elif kind == "quality_score":
        event.quality = score(row["quality"], row["label"])
    return event


def _ids(record: LogRecord) -> tuple[str | None, str | None]:
    """The trace and the span that a record was written in, in hex; a record has no identity of its own."""
    trace_id, span_id = record.trace_id, record.span_id
    if len(trace_id) not in {0, 16} or len(span_id) not in {0, 8}:
        raise BadItem(Rejection.INVALID_ID)
    return (
        trace_id.hex() if any(trace_id) else None,
        span_id.hex() if any(span_id) else None,
    )


def _name(record: LogRecord) -> str:
    """The name of a record's event: its attribute, its field, or its body where that is one we know; else nothing.

    The attribute comes first, since what bridges `tracing` of Rust (Codex) puts the line of source into the field."""
    for pair in record.attributes:
        if pair.key == "event.name" and pair.value.string_value:
            return pair.value.string_value
    if record.event_name:
        return record.event_name
    body = record.body.string_value or ""
    return body if body in EVENTS or body.startswith(tuple(start for start, _ in EVENT_SOURCES)) else ""


def _source_told(name: str) -> str:
    """The source that the name of an event speaks of; empty where it speaks of none."""
    return next((source for start, source in EVENT_SOURCES if name.startswith(start)), "")


def _kind(name: str, row: Row) -> str:
    kind = EVENTS.get(name, "log")
    if name == STREAMED and not _ends_response(row):
        return "log"
    if name in ONLY_FAILED and _succeeded(name, row):
        return "log"
    return kind


def _ends_response(row: Row) -> bool:
    """Whether a streamed event ends a response: with what it used, or with what went wrong. That it came, with neither,
    is told apart."""
    if row["input_tokens"] is not None or row["event_kind"] == RESPONSE_FAILED:
        return True
    return row["error"] is not None and row["event_kind"] in RESPONSE_BROKEN


def _succeeded(name: str, row: Row) -> bool:
    """Whether what a record tells of went well."""
    if name in FAILURES or row["error"] is not None:
        return False
    if name == STREAMED:
        return bool(row["event_kind"] != RESPONSE_FAILED)
    if row["success"] is not None:
        return bool(row["success"])
    code: str | None = row["error_type"]
    return code is None or (code.isdigit() and int(code) < 400)


def _status(kind: str, row: Row, failed: bool) -> str | None:
    """How it ended what a record tells of; None for a plain log that does not say that anything ended."""
    if failed:
        return failure(row["error_type"])
    return "success" if kind != "log" or row["success"] is not None else None


def _time_us(record: LogRecord, said: str | None) -> int:
    """When it happened, microseconds since 1970: the record's time, else the attribute's, else when it was observed."""
    if record.time_unix_nano:
        return record.time_unix_nano // 1000
    if said is not None:
        try:
            at_us = parse_one(said)
        except ValueError:
            at_us = UNREAD
        if at_us != UNREAD:
            return at_us
    if record.observed_time_unix_nano:
        return record.observed_time_unix_nano // 1000
    raise BadItem(Rejection.UNDATED)


def _said(record: LogRecord, name: str) -> dict[str, str]:
    """What a record says beside its attributes; the body of an event is its content, and is left out."""
    said = {"event.name": name[:TEXT_MAX], "severity": record.severity_text[:TEXT_MAX]}
    if not name:
        said["body"] = (record.body.string_value or "")[:TEXT_MAX]
    return {key: text for key, text in said.items() if text}


def _add_usage(event: Ingested, row: Row, source: str, at_s: float) -> None:
    cache_read, cache_write = row["cache_read_tokens"], row["cache_write_tokens"]
    tokens = (row["input_tokens"], row["output_tokens"], row["total_tokens"])
    event.usage = usage_of(source, *tokens, cache_read, cache_write, row["cost_usd"])
    if event.usage is not None and event.model is not None:
        put_price(event.usage, event.model, event.provider, at_s, cache_read, cache_write)
