"""The official exporters of OpenTelemetry send to a running service, and every span is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from tests.e2e.test_service import running

EXPORTERS: dict[str, Callable[[dict[str, str]], SpanExporter]] = {
    "http": lambda at: HttpExporter(at["otlp_http_port"] + "/v1/traces"),
    "http, gzip": lambda at: HttpExporter(at["port"] + "/v1/traces", compression=Compression.Gzip),
    "grpc": lambda at: GrpcExporter(at["otlp_grpc_port"], insecure=True),
}


def work(exporter: SpanExporter) -> None:
    """One task of one agent with two calls of its model, told by the SDK itself."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Coder"}
    with tracer.start_as_current_span("invoke_agent Coder", attributes=agent):
        for _ in range(2):
            call: dict[str, str | int] = {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "m",
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.output_tokens": 5,
            }
            with tracer.start_as_current_span("chat m", attributes=call):
                pass
    provider.shutdown()


@pytest.mark.parametrize("name", EXPORTERS)
def test_what_an_exporter_sends_is_folded_whole(name: str, tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    ports = {"otlp_http_port": 0, "otlp_grpc_port": 0, "port": 0}

    async def story() -> dict[str, Any]:
        addresses: dict[str, str] = {}
        async with running(tmp_path, at=datetime.now(UTC), server=ports, addresses=addresses) as tell:
            await asyncio.to_thread(work, EXPORTERS[name](addresses))
            for _ in range(100):
                counts: dict[str, Any] = (await tell("status"))["telemetry"]
                if counts["aggregated"] == 3:
                    break
                await asyncio.sleep(0.05)
            return counts

    counts = asyncio.run(story())
    assert counts == {
        "received": 3,
        "accepted": 3,
        "rejected": {},
        "aggregated": 3,
        "quarantined": {},
        "dropped": {},
        "in_flight": 0,
        "late": counts["late"],
    }
