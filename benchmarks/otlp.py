"""A batch of spans to events, beside parsing the same bytes and looking at nothing."""

from __future__ import annotations

import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from benchmarks.figure import Figure
from self_healing.telemetry.otlp import traces

SPANS = 512
RUNS = 200
START_NS = 1_767_607_200_000_000_000

CHAT: dict[str, str | int | float] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.agent.name": "Coder",
    "gen_ai.conversation.id": "conversation-1",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
    "gen_ai.request.temperature": 0.5,
    "gen_ai.response.id": "chatcmpl-1",
    "server.address": "api.openai.com",
    "server.port": 443,
}


def _value(of: str | float) -> AnyValue:
    match of:
        case str():
            return AnyValue(string_value=of)
        case int():
            return AnyValue(int_value=of)
        case _:
            return AnyValue(double_value=of)


def key_values(of: dict[str, str | int | float]) -> list[KeyValue]:
    """Attributes, as a message has them."""
    return [KeyValue(key=key, value=_value(value)) for key, value in of.items()]


def request() -> bytes:
    """A plain batch as an SDK sends it: 512 calls of a model with twelve attributes each."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    attributes = key_values(CHAT)
    for number in range(1, SPANS + 1):
        start_ns = START_NS + number * 1_000_000
        spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name="chat gpt-4o",
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + 2_000_000_000,
            attributes=attributes,
        )
    return message.SerializeToString()


def measure() -> list[Figure]:
    """Spans a second, the best of interleaved runs."""
    body = request()
    if len(traces(body).events) != SPANS:
        raise RuntimeError("not every span became an event")
    bare_s = ours_s = float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        ExportTraceServiceRequest.FromString(body)
        parsed = time.perf_counter()
        traces(body)
        bare_s, ours_s = min(bare_s, parsed - began), min(ours_s, time.perf_counter() - parsed)
    bare, ours = SPANS / bare_s, SPANS / ours_s
    beside = f"bare parse: {bare:,.0f} spans/s"
    return [Figure("OTLP spans to events", f"{ours:,.0f} spans/s", beside, ">= 80,000 spans/s", ours >= 80_000)]
