"""Requests to feed to the parsers: fixtures, single items, and the same request in the other encoding."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from self_healing.model import Ingested
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import logs, metrics, traces

FIXTURES = Path(__file__).parents[3] / "fixtures" / "otlp"

KINDS: dict[str, tuple[type[Message], Callable[..., Normalised]]] = {
    "resourceSpans": (ExportTraceServiceRequest, traces),
    "resourceLogs": (ExportLogsServiceRequest, logs),
    "resourceMetrics": (ExportMetricsServiceRequest, metrics),
}
"""Of each request, by its only field in JSON, the message and what normalises it."""

START_NS = 1_767_607_200_000_000_000  # 2026-01-05T10:00:00Z
TRACE = "5b8efff798038103d269b633813fc60c"


def normalised(request: Mapping[str, Any]) -> Normalised:
    """What becomes of a request in JSON."""
    (field,) = request
    return _keyless(KINDS[field][1](json.dumps(request).encode(), json=True))


def in_protobuf(request: Mapping[str, Any]) -> Normalised:
    """What becomes of the same request in protobuf."""
    (field,) = request
    return _keyless(KINDS[field][1](protobuf_of(request)))


def _keyless(found: Normalised) -> Normalised:
    """Without the key, which is of the bytes and not of what they say."""
    return replace(found, key=None)


def protobuf_of(request: Mapping[str, Any]) -> bytes:
    """The same request in protobuf."""
    (field,) = request
    return ParseDict(_with_bytes(request), KINDS[field][0]()).SerializeToString()


def _with_bytes(value: Any) -> Any:
    """The request with its hex ids as the JSON mapping of protobuf wants them."""
    match value:
        case dict():
            ids = {"traceId", "spanId", "parentSpanId"}
            return {
                key: base64.b64encode(bytes.fromhex(each)).decode() if key in ids else _with_bytes(each)
                for key, each in value.items()
            }
        case list():
            return [_with_bytes(each) for each in value]
        case _:
            return value


def fixture(name: str) -> dict[str, Any]:
    """A request in JSON as some source sends it, written by hand."""
    request: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return request


def value(of: Any) -> dict[str, Any]:
    """A value of an attribute."""
    match of:
        case bool():
            return {"boolValue": of}
        case int():
            return {"intValue": str(of)}
        case float():
            return {"doubleValue": of}
        case list():
            return {"arrayValue": {"values": [value(each) for each in of]}}
        case dict():
            return of
        case _:
            return {"stringValue": of}


def attributes(of: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(each)} for key, each in of.items()]


def span(said: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A request with one span, of two seconds, that says so in its attributes."""
    one = {
        "traceId": TRACE,
        "spanId": "00000000000000a1",
        "name": "a span",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 2_000_000_000),
        "attributes": attributes(said or {}),
    } | fields
    return spans(one)


def spans(*several: dict[str, Any], scope: str = "", resource: Mapping[str, Any] | None = None) -> dict[str, Any]:
    scope_spans = [{"scope": {"name": scope}, "spans": list(several)}]
    return {
        "resourceSpans": [{"resource": {"attributes": attributes(resource or {})}, "scopeSpans": scope_spans}],
    }


def record(said: Mapping[str, Any] | None = None, *, scope: str = "", **fields: Any) -> dict[str, Any]:
    """A request with one log record that says so in its attributes."""
    one = {"timeUnixNano": str(START_NS), "attributes": attributes(said or {})} | fields
    return {"resourceLogs": [{"scopeLogs": [{"scope": {"name": scope}, "logRecords": [one]}]}]}


def metric(
    kind: str, said: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A request with one point of a metric that says so in its attributes.

    Args:
        kind: ``gauge``, ``sum``, ``histogram``, ``exponentialHistogram`` or ``summary``.
        said: its attributes.
        data: fields of what holds the point.
        fields: fields of the point.
    """
    point = {"startTimeUnixNano": str(START_NS), "timeUnixNano": str(START_NS + 60_000_000_000)}
    point |= {"attributes": attributes(said or {})} | fields
    summed = {} if kind in {"gauge", "summary"} else {"aggregationTemporality": 1}
    one = {"name": "m", "unit": "s", kind: {**summed, **(data or {}), "dataPoints": [point]}}
    return {"resourceMetrics": [{"scopeMetrics": [{"scope": {"name": ""}, "metrics": [one]}]}]}


def event(request: Mapping[str, Any]) -> Ingested:
    """The only event of a request, which is the same in both encodings."""
    found = normalised(request)
    assert in_protobuf(request) == found
    assert not found.rejected
    (only,) = found.events
    return only


def rejected(request: Mapping[str, Any]) -> dict[str, int]:
    """What is rejected of a request that holds nothing good, which is the same in both encodings."""
    found = normalised(request)
    assert in_protobuf(request) == found
    assert not found.events
    return found.rejected
