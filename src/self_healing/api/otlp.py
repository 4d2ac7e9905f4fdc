"""OTLP over HTTP: what a request is answered with, in the words of the protocol.

``POST /v1/traces``, ``/v1/logs`` and ``/v1/metrics`` take protobuf or JSON and answer in the same. A full success is an
empty message; ``partial_success`` counts only what is bad for good, for a sender must not repeat it. What may come
again is answered with 503 and ``Retry-After``. See the `OTLP specification
<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>`_.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from self_healing.api.bodies import BodyError
from self_healing.api.taking import REFUSALS, Refusal, Taking
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp import logs, metrics, sentence, traces

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

INVALID_ARGUMENT, UNAVAILABLE = 3, 14
"""Codes of gRPC, which the protocol's errors carry over HTTP too."""


class Decode(Protocol):
    """Makes events of a request's body."""

    def __call__(self, body: bytes, *, json: bool) -> Normalised:
        """The events; raises Undecodable."""
        ...


@dataclass(frozen=True, kw_only=True)
class Export:
    """One of the three things that OTLP exports.

    Args:
        decode: makes events of a body.
        response: the answer's message.
        partial: the message in it that says what was rejected.
        rejected: the name of the count in that.
    """

    decode: Decode
    response: type[Any]
    partial: type[Any]
    rejected: str

    def answer(self, rejected: dict[str, int]) -> Any:
        """The message that answers a request whose items were taken, but for those `rejected`."""
        message = self.response()
        if rejected:
            counts = {self.rejected: sum(rejected.values())}
            message.partial_success.CopyFrom(self.partial(**counts, error_message=sentence(rejected)))
        return message

    def answer_json(self, rejected: dict[str, int]) -> dict[str, Any]:
        """The same as OTLP/JSON has it: names in camel case, and the count, an int64, as text."""
        if not rejected:
            return {}
        head, *rest = self.rejected.split("_")
        name = head + "".join(word.capitalize() for word in rest)
        return {"partialSuccess": {name: str(sum(rejected.values())), "errorMessage": sentence(rejected)}}


EXPORTS: Final = {
    "traces": Export(
        decode=traces,
        response=ExportTraceServiceResponse,
        partial=ExportTracePartialSuccess,
        rejected="rejected_spans",
    ),
    "logs": Export(
        decode=logs,
        response=ExportLogsServiceResponse,
        partial=ExportLogsPartialSuccess,
        rejected="rejected_log_records",
    ),
    "metrics": Export(
        decode=metrics,
        response=ExportMetricsServiceResponse,
        partial=ExportMetricsPartialSuccess,
        rejected="rejected_data_points",
    ),
}
"""The exports, as the last part of their path names them."""


def routes(taking: Taking) -> list[Route]:
    """The three routes of OTLP over HTTP."""
    return [Route(f"/v1/{name}", _endpoint(export, taking), methods=["POST"]) for name, export in EXPORTS.items()]


def _endpoint(export: Export, taking: Taking) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if kind not in (PROTOBUF, JSON):
                raise BodyError(415, f"Content-Type {kind!r}: allowed are {PROTOBUF} and {JSON}")
            receipt = await taking.take_request(request, partial(export.decode, json=kind == JSON), "otlp")
        except REFUSALS as error:
            return _refused(kind, taking.refusal(error, "otlp"))
        if kind == JSON:
            return Response(msgspec.json.encode(export.answer_json(receipt.rejected)), media_type=JSON)
        return Response(export.answer(receipt.rejected).SerializeToString(), media_type=PROTOBUF)

    return endpoint


def _refused(kind: str, refusal: Refusal) -> Response:
    """A refusal, as the protocol's Status message."""
    code = INVALID_ARGUMENT if refusal.retry_after_s is None else UNAVAILABLE
    if kind == PROTOBUF:
        body = Status(code=code, message=refusal.message).SerializeToString()
    else:
        body = msgspec.json.encode({"code": code, "message": refusal.message})
    return Response(body, refusal.status, refusal.headers, PROTOBUF if kind == PROTOBUF else JSON)
