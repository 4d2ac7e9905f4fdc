"""Spans into events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from self_healing.measures import LARGEST
from self_healing.model import Ingested
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp.attributes import RawTraceRequest, known
from self_healing.telemetry.otlp.cells import (
    attempt_of,
    cells_of,
    failure,
    kept_of,
    priced,
    score,
    usage_of,
)
from self_healing.telemetry.otlp.items import normalised
from self_healing.telemetry.otlp.json_body import TraceRequest, decode_json
from self_healing.telemetry.otlp.names import LOGS_ONLY, ROLES, SOURCE_OF, WRAPS_AGENTS
from self_healing.telemetry.otlp.plan import READERS, Attributes, Origin, Plan, origin_of, plan_for
from self_healing.telemetry.otlp.protobuf_body import decode_protobuf
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.otlp.values import TEXT_MAX, text
from self_healing.telemetry.timestamps import encode_micros

KINDS = {"model": "llm_call", "tool": "tool_call"}
"""What a span is as an event, by its role; any other is a ``span``."""

EVALUATION = "gen_ai.evaluation.result"

_LONGEST_NS = LARGEST * 1_000_000_000

_ERROR = Status.StatusCode.STATUS_CODE_ERROR


def traces(body: bytes, *, json: bool = False) -> Normalised:
    """The events of an ``ExportTraceServiceRequest``: one a span, and one more for each score that a span carries.

    Args:
        body: the request, decompressed.
        json: it is OTLP/JSON; else it is protobuf.

    Raises:
        Undecodable: it is no such request.
    """
    if json:
        request = cast("ExportTraceServiceRequest", decode_json(body, TraceRequest))
    else:
        request = decode_protobuf(body, RawTraceRequest)
    found = normalised(_spans(request, raw=not json), _events)
    found.as_read = True
    return found


def _spans(request: ExportTraceServiceRequest, *, raw: bool) -> Iterator[tuple[Span, Attributes, Origin]]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            origin = origin_of(scope_spans.scope.name, resource_spans.resource.attributes)
            for span in scope_spans.spans:
                # A cast, for only their type differs: in protobuf they are bytes still.
                yield span, known(cast("Iterable[bytes]", span.attributes)) if raw else span.attributes, origin


def _events(span: Span, attributes: Attributes, origin: Origin) -> list[Ingested]:
    """The event of one span, and of each score that it carries.

    Raises:
        BadItem: it cannot be used.
    """
    trace_id, span_id, parent_id = _ids(span)
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    if not end_ns:
        raise BadItem(Rejection.UNDATED)
    if end_ns < start_ns:
        raise BadItem(Rejection.NEGATIVE_DURATION)
    if start_ns and end_ns - start_ns > _LONGEST_NS:
        raise BadItem(Rejection.INVALID_VALUE)
    plan, pairs = plan_for(origin, attributes)
    (
        task_id,
        agent,
        operation,
        model,
        provider,
        attempt,
        resends,
        input_tokens,
        output_tokens,
        total_tokens,
        cache_read,
        cache_write,
        cost_usd,
        currency,
        quality,
        label,
        error_type,
        tool,
        call_id,
        run_id,
        handoff_id,
        _,
        _,
        _,
        _,
        _,
        _,
    ) = cells_of(plan, pairs)
    kept = kept_of(plan, pairs, origin)
    kept["span.name"] = name = span.name[:TEXT_MAX]
    repeated = plan.source in LOGS_ONLY
    role = "other" if repeated else _role(plan, operation, tool, model, input_tokens)
    status = "success"
    if span.status.code == _ERROR or error_type is not None:
        error_type = error_type or _exception_of(span)
        status = failure(error_type)
        if span.status.message:
            kept["status.message"] = span.status.message[:TEXT_MAX]
    if currency is not None and currency.upper() != "USD":
        cost_usd = None
    usage = None
    if not repeated:
        usage = usage_of(plan.source, input_tokens, output_tokens, total_tokens, cache_read, cache_write, cost_usd)
    end_s = end_ns / 1e9
    if usage is not None and role == "model" and model is not None:
        priced(usage, model, provider, end_s, cache_read, cache_write)
    # By their places: a call with many keywords takes three times as long.
    event = Ingested(
        encode_micros(end_ns // 1000),
        "log" if repeated else KINDS.get(role, "span"),
        task_id or trace_id,
        agent,
        model,
        provider,
        attempt_of(attempt, resends),
        status,
        start_ns / 1e9 if start_ns else None,
        end_s,
        (end_ns - start_ns) / 1e9 if start_ns else None,
        usage,
        None,
        None,
        None,
        error_type,
        (tool or name or None) if role == "tool" else None,
        run_id,
        trace_id,
        handoff_id,
        kept,
        SOURCE_OF[plan.source],
        span_id,
        parent_id,
        role,
        call_id,
    )
    if span.events or quality is not None or label is not None:
        return [event, *_scores(span, origin, event, score(quality, label))]
    return [event]


def _ids(span: Span) -> tuple[str, str, str | None]:
    """Trace, span and parent in hex; no parent for a root span."""
    trace_id, span_id, parent_id = span.trace_id, span.span_id, span.parent_span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        raise BadItem(Rejection.INVALID_ID)
    if not parent_id or parent_id == _NO_SPAN:
        return trace_id.hex(), span_id.hex(), None
    if len(parent_id) != 8:
        raise BadItem(Rejection.INVALID_ID)
    return trace_id.hex(), span_id.hex(), parent_id.hex()


_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


def _role(plan: Plan, operation: str | None, tool: str | None, model: str | None, tokens: int | None) -> str:
    """What a span is: as its source's word says, else as its attributes do."""
    role = None if operation is None else ROLES.get(operation) or ROLES.get(operation.lower())
    if role == "agent" and not plan.named and plan.source in WRAPS_AGENTS:
        return "other"
    if role is not None:
        return role
    if tool is not None:
        return "tool"
    if plan.own_work:
        return "agent"
    return "other" if model is None or tokens is None else "model"


def _exception_of(span: Span) -> str | None:
    """The type of the last exception that a span recorded."""
    for event in reversed(span.events):
        for pair in event.attributes:
            if pair.key == "exception.type":
                return text(pair.value)
    return None


def _scores(span: Span, origin: Origin, event: Ingested, quality: float | None) -> Iterator[Ingested]:
    """The scores that a span carries, in its attributes or as events of its own."""
    if quality is not None:
        yield _score(event, event.ts, quality, {"span.name": span.name[:TEXT_MAX]})
    for each in span.events:
        if each.name == EVALUATION:
            plan, pairs = plan_for(origin, each.attributes)
            row = dict(zip(READERS, cells_of(plan, pairs), strict=True))
            ts = encode_micros(each.time_unix_nano // 1000) if each.time_unix_nano else event.ts
            yield _score(event, ts, score(row["quality"], row["label"]), kept_of(plan, pairs, origin))


def _score(event: Ingested, ts: str | None, quality: float | None, kept: dict[str, Any]) -> Ingested:
    """A score of what a span did; its own identity is none, so that it is not taken for the span once more."""
    return Ingested(
        ts=ts,
        kind="quality_score",
        source=event.source,
        task_id=event.task_id,
        agent=event.agent,
        model=event.model,
        provider=event.provider,
        quality=quality,
        run_id=event.run_id,
        trace_id=event.trace_id,
        parent_id=event.span_id,
        handoff_id=event.handoff_id,
        attributes=kept,
    )
