"""Answers: JSON, and refusals as problem details, as `RFC 9457 <https://www.rfc-editor.org/rfc/rfc9457>`_ has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from self_healing.errors import (
    ApprovalRefused,
    HandoffRefused,
    LifecycleError,
    NotFound,
    Overloaded,
    SelfHealingError,
    SilenceRefused,
    StateCorrupt,
    StateError,
    StorageError,
    TelemetryError,
)

PROBLEM: Final = "application/problem+json"

WAYS_IN: Final = ("/v1/traces", "/v1/logs", "/v1/metrics", "/v1/events", "/v1/junit", "/v1/alertmanager")
"""Where telemetry is sent to."""

_STATUSES: Final[tuple[tuple[type[SelfHealingError], HTTPStatus], ...]] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (StateCorrupt, HTTPStatus.SERVICE_UNAVAILABLE),
    (StorageError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TelemetryError, HTTPStatus.SERVICE_UNAVAILABLE),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE),
    (ApprovalRefused, HTTPStatus.CONFLICT),
    (HandoffRefused, HTTPStatus.CONFLICT),
    (LifecycleError, HTTPStatus.CONFLICT),
    (SilenceRefused, HTTPStatus.CONFLICT),
    (StateError, HTTPStatus.CONFLICT),
)
"""What a refusal is in the words of HTTP, the first that fits; whatever is not here was not asked rightly."""


def as_json(value: Any) -> Response:
    """`value` as the body of an answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal, with what was wrong and what is allowed."""
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return Response(msgspec.json.encode(told), status, headers, PROBLEM)


def status_of(error: SelfHealingError) -> HTTPStatus:
    """What an error of the framework is in the words of HTTP."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)


def refusal(error: SelfHealingError) -> Response:
    """What an error of the framework is answered with."""
    return problem(status_of(error), str(error))


def unforeseen(error: Exception) -> str:
    """What whoever asked is told of a failure that nobody foresaw; all of it is in the log."""
    return f"self-healing failed at this in a way that nobody foresaw ({type(error).__name__}); its log says where"


def unrouted(request: Request, error: Exception, missing: str) -> Response:
    """The refusal of a request that no route takes.

    Args:
        missing: what is said where there is no such path.
    """
    assert isinstance(error, HTTPException)
    headers, detail = dict(error.headers or {}), error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = missing
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and "Allow" in headers:
        detail = f"{request.method}: allowed here is {headers['Allow']}"
    return problem(error.status_code, detail, headers)


async def unanswered(request: Request, error: Exception) -> Response:
    """The answer of an application where none of its routes gives one."""
    missing = "there is no such path"
    if request.method == "POST":  # mostly of an exporter, which was given an address without the path or with another
        missing += f"; telemetry is sent to {', '.join(WAYS_IN)}"
    return unrouted(request, error, missing)


async def failed(_request: Request, error: Exception) -> Response:
    """The answer of an application where one of its routes failed."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, unforeseen(error))


PROBLEMS: Final[dict[Any, Any]] = {HTTPException: unanswered, Exception: failed}
"""How an application answers programs where no route of its own does."""
