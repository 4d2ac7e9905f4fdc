"""The official exporters of OpenTelemetry send to a running service, and every item is accounted for.

They speak protobuf only; JSON is posted elsewhere (``test_recorded_otlp``).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from self_healing.api.server import Server
from self_healing.clock import SystemClock
from self_healing.config import ServerSettings
from self_healing.dashboard.changes import Changes
from self_healing.errors import Overloaded
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Intake, Receipt
from self_healing.telemetry.query.files import Places
from self_healing.telemetry.segments import Segments
from tests.conversion import conversion
from tests.e2e.test_service import running
from tests.unit.telemetry.test_intake import lines

FREE: dict[str, Any] = {"otlp_http_port": 0, "otlp_grpc_port": 0, "port": 0}
SHOP = Resource.create({"service.name": "shop"})
WAYS = ["http", "http, gzip", "http, deflate", "grpc", "grpc, gzip"]
PACKED = {"gzip": Compression.Gzip, "deflate": Compression.Deflate}
TASKS = 40

Exporter = Callable[..., Any]


def to(way: str, at: dict[str, str], signal: str, http: Exporter, grpc: Exporter) -> Any:
    """An exporter of the SDK: `way` is its protocol, and its compression if it has one."""
    protocol, _, packing = way.partition(", ")
    compression = PACKED.get(packing, Compression.NoCompression)
    if protocol == "http":
        return http(f"{at['otlp_http_port']}/v1/{signal}", compression=compression, timeout=60)
    import grpc as library

    packed = library.Compression.Gzip if packing else library.Compression.NoCompression
    return grpc(at["otlp_grpc_port"], insecure=True, compression=packed, timeout=60)


def spans(way: str, at: dict[str, str], tasks: int = TASKS) -> int:
    """Tasks of one agent with two calls of its model each, told by the SDK in batches; returns how many spans."""
    provider = TracerProvider(resource=SHOP)
    exporter = to(way, at, "traces", HttpSpans, GrpcSpans)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=50, export_timeout_millis=60_000))
    tracer = provider.get_tracer("tests")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Coder"}
    call: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }
    for _ in range(tasks):
        with tracer.start_as_current_span("invoke_agent Coder", attributes=agent):
            for _ in range(2):
                with tracer.start_as_current_span("chat m", attributes=call):
                    pass
    provider.force_flush(60_000)
    provider.shutdown()
    return tasks * 3


def records(way: str, at: dict[str, str]) -> int:
    """A hundred log records; returns how many."""
    provider = LoggerProvider(resource=SHOP)
    provider.add_log_record_processor(BatchLogRecordProcessor(to(way, at, "logs", HttpLogs, GrpcLogs)))
    logger = provider.get_logger("tests")
    for number in range(100):
        logger.emit(timestamp=time.time_ns(), severity_number=SeverityNumber.WARN, body=f"line {number}")
    provider.shutdown()
    return 100


def points(way: str, at: dict[str, str]) -> int:
    """A histogram for each of two models, and a counter; returns how many points."""
    reader = PeriodicExportingMetricReader(to(way, at, "metrics", HttpMetrics, GrpcMetrics), 3_600_000)
    provider = MeterProvider([reader], resource=SHOP)
    meter = provider.get_meter("tests")
    for model in ("m", "n"):
        named = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.token.type": "input"}
        meter.create_histogram("gen_ai.client.token.usage", "{token}").record(7, named)
    meter.create_counter("orders").add(3)
    provider.shutdown()
    return 3


async def folded(tell: Callable[..., Awaitable[dict[str, Any]]], items: int) -> dict[str, Any]:
    """The accounting, once so many items were folded."""
    for _ in range(200):
        counts: dict[str, Any] = (await tell("status"))["telemetry"]
        if counts["aggregated"] >= items:
            break
        await asyncio.sleep(0.05)
    return counts


def whole(items: int, counts: dict[str, Any]) -> dict[str, Any]:
    """The accounting of so many items when nothing went wrong; late is what it is."""
    nothing: dict[str, Any] = {"rejected": {}, "quarantined": {}, "dropped": {}, "in_flight": 0, "traces_lost": 0}
    return {"received": items, "accepted": items, "aggregated": items, **nothing, "late": counts["late"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("send", [spans, records, points])
def test_what_an_exporter_sends_is_folded_whole(send: Callable[..., int], way: str, tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()

    async def story() -> None:
        addresses: dict[str, str] = {}
        async with running(tmp_path, at=datetime.now(UTC), server=FREE, addresses=addresses) as tell:
            items = await asyncio.to_thread(send, way, addresses)
            counts = await folded(tell, items)
            assert counts == whole(items, counts)

    asyncio.run(story())


class Retrying(logging.Handler):
    """Hears when an exporter says that it will try again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "retrying" in record.getMessage():
            self.heard.set()


@pytest.mark.parametrize("way", ["http, gzip", "grpc"])
def test_an_exporter_that_tries_again_until_the_service_is_back_loses_nothing(way: str, tmp_path: Path) -> None:
    (tmp_path / "telemetry").mkdir()
    retrying, logger = Retrying(), logging.getLogger("opentelemetry.exporter")
    logger.addHandler(retrying)
    now = datetime.now(UTC)

    async def story() -> None:
        addresses: dict[str, str] = {}
        async with running(tmp_path, at=now, server=FREE, addresses=addresses) as tell:
            first = await asyncio.to_thread(spans, way, addresses)
            await folded(tell, first)
        same = {setting: int(address.rpartition(":")[2]) for setting, address in addresses.items()}
        sending = asyncio.create_task(asyncio.to_thread(spans, way, addresses))
        assert await asyncio.to_thread(retrying.heard.wait, 30)
        # Its clock runs fast, so by now it may be ahead of the machine's.
        async with running(tmp_path, at=now + timedelta(minutes=5), server=same) as tell:
            items = first + await sending
            counts = await folded(tell, items)
            assert counts == whole(items, counts)

    try:
        asyncio.run(story())
    finally:
        logger.removeHandler(retrying)


@pytest.mark.parametrize("way", ["http", "grpc"])
def test_exporters_that_are_told_to_come_again_lose_nothing(way: str, tmp_path: Path) -> None:
    refused, released = threading.Event(), threading.Event()
    clock = SystemClock()

    def stuck(_point: str) -> None:
        """A disk that does not answer until a batch that found no room was refused."""
        released.wait(60)

    intake = Intake(Segments(tmp_path, now=clock.now, queue_bytes=1, crash=stuck), now=clock.now)
    intake.start()

    def submit(batch: Encoded) -> Future[Receipt]:
        try:
            return intake.submit(batch)
        except Overloaded:
            refused.set()
            raise

    async def ask(command: str, **_arguments: Any) -> dict[str, Any]:
        raise AssertionError(f"nobody asks for {command}")

    nowhere = Places(telemetry=Path("nowhere"), segments=Path("nowhere"))
    server = Server(
        ServerSettings(**FREE),
        submit=submit,
        conversion=conversion(),
        ask=ask,
        places=nowhere,
        explain=lambda _: {},
        verify=dict,
        changes=Changes(),
        now=SystemClock().now,
    )
    server.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            sent = [pool.submit(spans, way, server.addresses, 10) for _ in range(3)]
            assert refused.wait(30)
            released.set()
            items = sum(each.result() for each in sent)
    finally:
        released.set()
        server.stop()
        intake.stop()
    ids = [line["span_id"] for line in lines(tmp_path) if line["type"] != "self_healing_intake"]
    assert len(ids) == len(set(ids)) == items
