"""OTLP over gRPC: the same answers in the words of gRPC, told by its own client."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from self_healing.api import taking as api
from self_healing.api.bodies import Room
from self_healing.api.otlp_grpc import READING, SERVICES, make_server
from self_healing.api.server import Server
from self_healing.api.taking import Submit
from self_healing.api.tokens import Tokens
from self_healing.api.unusable import Unusable
from self_healing.config import ServerSettings
from self_healing.errors import Overloaded, StorageError
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Receipt
from tests.conversion import conversion
from tests.unit.api.test_server import Failing, protobuf, serving


class Taking:
    """Takes every batch, and remembers it."""

    def __init__(self) -> None:
        self.batches: list[Encoded] = []

    def __call__(self, batch: Encoded) -> Future[Receipt]:
        self.batches.append(batch)
        result: Future[Receipt] = Future()
        result.set_result(Receipt(accepted=len(batch.sizes), rejected=batch.rejected))
        return result


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


@contextmanager
def listening(submit: Submit, **settings: Any) -> Iterator[tuple[Server, TraceServiceStub]]:
    with (
        serving(submit, port=None, otlp_http_port=None, otlp_grpc_port=0, **settings) as server,
        grpc.insecure_channel(server.addresses["otlp_grpc_port"]) as channel,
    ):
        yield server, TraceServiceStub(channel)  # type: ignore[no-untyped-call]


@contextmanager
def stub(submit: Submit, **settings: Any) -> Iterator[TraceServiceStub]:
    with listening(submit, **settings) as (_, traces):
        yield traces


def message(*numbers: int) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(protobuf(*numbers))


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_spans_are_taken(compression: grpc.Compression) -> None:
    taking = Taking()
    with stub(taking) as traces:
        answer = traces.Export(message(1, 2), compression=compression, timeout=30)
    assert isinstance(answer, ExportTraceServiceResponse)
    assert not answer.HasField("partial_success")
    assert [len(batch.sizes) for batch in taking.batches] == [2]


def test_what_is_bad_for_good_is_a_partial_success() -> None:
    request = message(1, 2)
    request.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano = 0
    with stub(Taking()) as traces:
        answer = traces.Export(request, timeout=30)
    assert answer.partial_success.rejected_spans == 1


@pytest.mark.parametrize(
    ("failing", "after_s"), [(Failing(at_once=Overloaded(3.0)), 3), (Failing(later=StorageError("full")), 5)]
)
def test_what_cannot_be_stored_now_is_unavailable_and_says_when_to_come_again(failing: Failing, after_s: int) -> None:
    with stub(failing) as traces, pytest.raises(grpc.RpcError) as refused:
        traces.Export(message(1), timeout=30)
    error: Any = refused.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.ToSeconds() == after_s


READS = {"reader": {"env": "SELF_HEALING_TEST_READER", "scopes": ["read"]}}


def test_with_a_token_only_who_shows_it_is_let_in_and_who_is_not_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELF_HEALING_TEST_READER", "only-reads")
    taking = Taking()
    with listening(taking, token="secret", tokens=READS) as (server, traces):
        for shown, status in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", "Bearer only-reads"),), grpc.StatusCode.PERMISSION_DENIED),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                traces.Export(message(1), timeout=30, metadata=shown)
            error: Any = refused.value
            assert error.code() is status
        traces.Export(message(1), timeout=30, metadata=(("authorization", "Bearer secret"),))
        assert {reason: count for reason, count in server.refused.items() if count} == {
            "unauthenticated": 1,
            "forbidden": 1,
        }
    assert len(taking.batches) == 1


class Slow:
    """The method, called by somebody whose message does not come."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.export: Any = channel.stream_unary(f"/{SERVICES['traces']}/Export")
        self._over = threading.Event()

    def call(self) -> Any:
        return self.export.future(self._message(), timeout=30)

    def _message(self) -> Iterator[bytes]:
        self._over.wait(30)
        yield b""

    def is_taken(self, timeout: float = 0.5) -> bool:
        """Whether a message that is there is taken in that time."""
        try:
            self.export(iter([protobuf(1)]), timeout=timeout)
        except grpc.RpcError:
            return False
        return True

    def over(self) -> None:
        self._over.set()


@contextmanager
def slow(**settings: Any) -> Iterator[Slow]:
    with (
        serving(Taking(), port=None, otlp_http_port=None, otlp_grpc_port=0, **settings) as server,
        grpc.insecure_channel(server.addresses["otlp_grpc_port"]) as channel,
    ):
        sender = Slow(channel)
        try:
            yield sender
        finally:
            sender.over()


def test_who_shows_no_token_is_refused_before_the_message_is_read() -> None:
    with slow(token="secret") as sender:
        assert sender.call().exception(timeout=10).code() is grpc.StatusCode.UNAUTHENTICATED


def test_no_more_messages_are_read_at_once_than_there_is_room_for() -> None:
    with slow() as sender:
        calls = [sender.call() for _ in range(READING)]
        assert not all(sender.is_taken() for _ in range(20))  # once all of them have begun
        for call in calls:
            call.cancel()
        assert sender.is_taken(timeout=30)


def test_those_whose_messages_do_not_come_give_up_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("self_healing.api.otlp_grpc.PLACE_S", 0.1)
    with slow() as sender:
        calls = [sender.call() for _ in range(READING)]
        eventually(lambda: any(call.done() for call in calls))
        assert next(call for call in calls if call.done()).exception().code() is grpc.StatusCode.UNAVAILABLE
        assert sender.is_taken(timeout=30)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_beyond_the_cap_is_refused_and_counted(compression: grpc.Compression) -> None:
    request = message(1)
    request.resource_spans[0].scope_spans[0].spans[0].name = "x" * (21 << 20)
    with listening(Taking()) as (server, traces):
        with pytest.raises(grpc.RpcError) as refused:
            traces.Export(request, timeout=30, compression=compression)
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        eventually(lambda: server.refused["abandoned"] == 1)  # gRPC does not tell us which of the two it was


def test_a_call_that_its_client_gives_up_before_its_message_is_counted_as_abandoned() -> None:
    with (
        serving(Taking(), port=None, otlp_http_port=None, otlp_grpc_port=0) as server,
        grpc.insecure_channel(server.addresses["otlp_grpc_port"]) as channel,
    ):
        sender = Slow(channel)
        call = sender.call()
        assert sender.is_taken(timeout=30)
        call.cancel()
        eventually(lambda: server.refused["abandoned"] == 1)
        sender.over()


def test_a_call_beyond_those_that_may_be_open_is_asked_to_come_again() -> None:
    def never(_batch: Encoded) -> Future[Receipt]:
        return Future()

    async def refused() -> tuple[Any, int]:
        taking = api.Taking(never, Room(), conversion(), Unusable(lambda: datetime.now(UTC)))
        server = make_server(taking, Tokens(ServerSettings(), {}), most_calls=1)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            export: Any = channel.unary_unary(f"/{SERVICES['traces']}/Export")
            calls = [asyncio.ensure_future(export(protobuf(1), timeout=30).code()) for _ in range(2)]
            (one,), _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            await server.stop(None)
            await asyncio.wait(calls)
            return one.result(), taking.refused["overloaded"]

    assert asyncio.run(refused()) == (grpc.StatusCode.UNAVAILABLE, 1)
