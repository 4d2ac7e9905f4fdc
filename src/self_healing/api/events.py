"""Events over HTTP that are not OTLP: native ones, test reports, and what Alertmanager says.

Each answer is JSON and counts what became of the batch; an ``Idempotency-Key`` makes sending it again harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from self_healing.api.bodies import BodyError
from self_healing.api.conversion import Normalise
from self_healing.api.taking import REFUSALS, Taking
from self_healing.telemetry.alertmanager import alerts
from self_healing.telemetry.intake import Receipt
from self_healing.telemetry.junit import junit
from self_healing.telemetry.native_batch import is_lines, native_batch

KEY_MAX: Final = 256
"""The longest idempotency key."""


def routes(taking: Taking) -> list[Route]:
    """The routes that take events."""
    ways: dict[str, tuple[str, Callable[[Request], Normalise]]] = {
        "/v1/events": ("http", _native),
        "/v1/junit": ("junit", _junit),
        "/v1/alertmanager": ("alertmanager", lambda _request: alerts),
    }
    return [
        Route(path, _endpoint(normalise, taking, source), methods=["POST"])
        for path, (source, normalise) in ways.items()
    ]


def _native(request: Request) -> Normalise:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_MAX:
        raise BodyError(400, f"Idempotency-Key of {len(key)} characters: allowed are 1 to {KEY_MAX}")
    content_type = request.headers.get("content-type", "")
    try:
        is_lines(content_type)
    except ValueError as error:
        raise BodyError(415, str(error)) from error
    return partial(native_batch, content_type=content_type, key=key)


def _junit(request: Request) -> Normalise:
    return partial(junit, at=datetime.now(UTC), agent=request.query_params.get("agent"))


def _endpoint(prepare: Callable[[Request], Normalise], taking: Taking, source: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            receipt = await taking.take_request(request, prepare(request), source)
        except REFUSALS as error:
            refusal = taking.refusal(error, source)
            return _json({"message": refusal.message}, refusal.status, refusal.headers)
        nothing_good = receipt.rejected and not receipt.accepted and not receipt.dropped
        return _json(_counts(receipt), 400 if nothing_good else 200)

    return endpoint


def _counts(receipt: Receipt) -> dict[str, Any]:
    """What became of a batch; the names are those of the accounting."""
    counts = {"accepted": receipt.accepted, "rejected": receipt.rejected, "dropped": receipt.dropped}
    return {**counts, "problems": receipt.problems} if receipt.problems else counts


def _json(value: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
