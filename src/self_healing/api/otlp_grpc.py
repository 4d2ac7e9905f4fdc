"""OTLP over gRPC: the same three exports; needs the extra ``grpc``.

Overload is answered UNAVAILABLE with RetryInfo, which every client takes for "send it again"; RESOURCE_EXHAUSTED alone
makes clients drop their data. See the `OTLP specification <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>`_.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from self_healing.api.bodies import MOST_BYTES, RETRY_AFTER_S, Abandoned
from self_healing.api.otlp import EXPORTS, UNAVAILABLE, Export
from self_healing.api.taking import READ_S, REFUSALS, Refusal, Taking
from self_healing.api.tokens import EVERYTHING, Scopes, Tokens
from self_healing.config import Scope
from self_healing.errors import Overloaded

SERVICES: Final = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}

READING: Final = 8
"""So many messages are read at once; the others wait where they are sent. 160 MiB, were all as large as may be."""

PLACE_S: Final = 5.0
"""Whose message is not there by then gives up its place as soon as somebody else may want it."""

STREAMS: Final = 100
"""So many calls of one client are open at once; its next ones wait there."""

CALLS: Final = 1000
"""So many calls are open at once; further ones are asked to come again. gRPC's own limit would say no such thing."""


def make_server(taking: Taking, tokens: Tokens, *, most_calls: int = CALLS) -> grpc.aio.Server:
    """A server of the three services; it has no port yet, and is not started.

    Args:
        taking: takes the batches.
        tokens: which there are.
        most_calls: how many are open at once.
    """
    # Messages are capped after decompression by gRPC itself.
    options = [("grpc.max_receive_message_length", MOST_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=[*options, ("grpc.max_concurrent_streams", STREAMS)])
    places = _Places(asyncio.Semaphore(most_calls), asyncio.Semaphore(READING))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                service,
                {"Export": grpc.stream_unary_rpc_method_handler(_export(EXPORTS[name], taking, tokens, places))},
            )
            for name, service in SERVICES.items()
        ]
    )
    return server


class _Places(NamedTuple):
    """How many calls may be open, and how many messages be read at once, over all services."""

    calls: asyncio.Semaphore
    reading: asyncio.Semaphore

    async def message(self, messages: AsyncIterator[bytes]) -> bytes:
        """The one message of a call.

        Raises:
            Abandoned: the sender went away, or gRPC itself refused the message.
            TimeoutError: it does not come.
        """
        async with asyncio.timeout(READ_S) as limit, self.reading:
            with self._given_up_to_others(limit):
                body = await anext(messages, None)
        if body is None:  # gRPC tells the sender if it is too large, and here only that there is no message
            raise Abandoned(400, f"no message, or one of more than {MOST_BYTES} bytes")
        return body

    @contextmanager
    def _given_up_to_others(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Whoever reads inside goes on until `limit`, or until there is no place left for others."""
        loop = asyncio.get_running_loop()
        looking: asyncio.TimerHandle

        def look() -> None:
            nonlocal looking
            if self.reading.locked():
                limit.reschedule(loop.time())
            else:
                looking = loop.call_later(PLACE_S, look)

        looking = loop.call_later(PLACE_S, look)
        try:
            yield
        finally:
            looking.cancel()


def _export(export: Export, taking: Taking, tokens: Tokens, places: _Places) -> Callable[..., Any]:
    """The method of one service: bytes in, bytes out, for the mapping decodes them itself.

    To gRPC it takes a stream, of which it reads the one message: so nothing of that is held before it is known who
    sends it and that there is room.
    """

    async def method(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        may = _may(tokens, context)
        if may is None:
            taking.turned_away(HTTPStatus.UNAUTHORIZED)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "send the metadata 'authorization: Bearer TOKEN'")
        elif Scope.SEND not in may:
            taking.turned_away(HTTPStatus.FORBIDDEN)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"that takes a token with the scope {Scope.SEND}")
        try:
            if places.calls.locked():
                raise Overloaded(RETRY_AFTER_S)
            async with places.calls:
                body = await places.message(messages)
                receipt = await taking.take(body, partial(export.decode, json=False), "otlp")
        except REFUSALS as error:
            await _refused(context, taking.refusal(error, "otlp"))
        answer: bytes = export.answer(receipt.rejected).SerializeToString()
        return answer

    return method


def _may(tokens: Tokens, context: grpc.aio.ServicerContext[bytes, bytes]) -> Scopes | None:
    if not tokens.needed:
        return EVERYTHING
    metadata = dict(context.invocation_metadata() or ())
    return tokens.shown_by(str(metadata.get("authorization", "")))


async def _refused(context: grpc.aio.ServicerContext[bytes, bytes], refusal: Refusal) -> None:
    """Refuse for good, or for now and say when to come again."""
    if refusal.retry_after_s is None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, refusal.message)
    delay = Duration()
    delay.FromMilliseconds(round((refusal.retry_after_s or 0) * 1000))
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=delay))
    status = Status(code=UNAVAILABLE, message=refusal.message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(grpc.StatusCode.UNAVAILABLE, refusal.message)
