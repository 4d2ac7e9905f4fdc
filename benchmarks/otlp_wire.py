"""Spans sent over HTTP to a running service, to the moment at which the last is in a committed pane.

A batch before them starts the process that converts, which is not part of the figure.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.figure import Figure
from benchmarks.listening import children, cpu_s, listening
from benchmarks.otlp import CHAT, key_values
from benchmarks.otlp_stages import stages

SPANS = 512
"""In a batch, as the SDK's batch processor has it by default."""

TRACE = 8
"""So many of them are one task: its agent's span, and seven calls of its model."""

BATCHES = 300
SENDERS = 4
RUNS = 2
STAGED = 60
"""So many batches are taken through the stages one by one, in this process."""

HEADERS = {"Content-Type": "application/x-protobuf"}
AGENT: dict[str, str | int | float] = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": "Coder",
    "gen_ai.conversation.id": "c",
}


def batch(number: int, now_ns: int) -> bytes:
    """The `number`-th batch of whole traces that ended just before `now_ns`."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    agent, chat = key_values(AGENT), key_values(CHAT)
    for place in range(SPANS):
        id = number * SPANS + place + 1
        root = id - place % TRACE
        spans.add(
            trace_id=root.to_bytes(16, "big"),
            span_id=id.to_bytes(8, "big"),
            parent_span_id=b"" if id == root else root.to_bytes(8, "big"),
            name="invoke_agent Coder" if id == root else "chat gpt-4o",
            start_time_unix_nano=now_ns - 3_000_000_000,
            end_time_unix_nano=now_ns - 1_000_000_000 + id,
            attributes=agent if id == root else chat,
        )
    return message.SerializeToString()


def _send(host_port: str, bodies: list[bytes]) -> None:
    connection = http.client.HTTPConnection(host_port)
    for body in bodies:
        while True:
            connection.request("POST", "/v1/traces", body, HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                break
            if answer.status != 503:
                raise RuntimeError(f"the service answered {answer.status}")
            time.sleep(float(answer.headers["Retry-After"]))
    connection.close()


def _run(first: bytes, bodies: list[bytes]) -> tuple[float, float, float, float]:
    """Seconds until the last batch was acknowledged, until the last span was in a committed pane, and of processor time
    of the process that takes in and folds, and of the one that converts.

    Args:
        first: a batch that is sent before.
    """
    with tempfile.TemporaryDirectory() as directory, listening(Path(directory)) as service:
        _send(service.host_port, [first])
        service.folded(SPANS)
        beside = children(service.pid)
        began, folding_s, converting_s = time.perf_counter(), cpu_s(service.pid), sum(map(cpu_s, beside))
        with ThreadPoolExecutor(SENDERS) as senders:
            for sent in [senders.submit(_send, service.host_port, bodies[n::SENDERS]) for n in range(SENDERS)]:
                sent.result()
        acknowledged_s = time.perf_counter() - began
        service.folded((1 + len(bodies)) * SPANS)
        folded_s = time.perf_counter() - began
        return acknowledged_s, folded_s, cpu_s(service.pid) - folding_s, sum(map(cpu_s, beside)) - converting_s


def _bare_s(bodies: list[bytes]) -> float:
    """Seconds to parse the same bodies and to look at nothing in them."""
    began = time.perf_counter()
    for body in bodies:
        ExportTraceServiceRequest.FromString(body)
    return time.perf_counter() - began


def measure() -> list[Figure]:
    """Spans a second from the first request to the last committed pane; the best of a few runs."""
    now_ns = time.time_ns()
    first, *bodies = [batch(number, now_ns) for number in range(1 + BATCHES)]
    runs = [_run(first, bodies) for _ in range(RUNS)]
    spans = BATCHES * SPANS
    bare = spans / min(_bare_s(bodies) for _ in range(RUNS))
    acknowledged, folded, folding, converting = (spans / min(times) for times in zip(*runs, strict=True))
    bound = "folding" if folding < converting else "converting"
    some = bodies[:STAGED]
    by_stage = {stage: 1e6 * took_s / len(some) / SPANS for stage, took_s in stages(some).items()}
    told = ", ".join(f"{stage} {took_us:.1f} us" for stage, took_us in by_stage.items())
    beside = (
        f"bare parse: {bare:,.0f} spans/s; acknowledged: {acknowledged:,.0f} spans/s; CPU a span {1e6 / folding:.0f} us"
        f" to take in and fold, {1e6 / converting:.0f} us in the process that converts: {bound} bounds it;"
        f" by stage, one after the other: {told}"
    )
    return [
        Figure("OTLP/HTTP to committed panes", f"{folded:,.0f} spans/s", beside, ">= 30,000 spans/s", folded >= 30_000)
    ]
