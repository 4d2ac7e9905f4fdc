"""Approving over HTTP: what waits for a person's yes, and the answer, which names the plan that was seen.

Refusals are problem details, as `RFC 9457 <https://www.rfc-editor.org/rfc/rfc9457>`_ has them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from self_healing.api.asking import as_json, problem
from self_healing.api.looking import Ask
from self_healing.errors import ApprovalRefused, NotFound, StorageError

MOST_BYTES: Final = 10_000
"""Of an answer: a name, a reason and a hash."""


class AnswerBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person says."""

    by: str  # who
    reason: str
    plan: str  # the hash of what that person saw


def routes(ask: Ask) -> list[Route]:
    """The routes by which people approve and deny.

    Args:
        ask: asks the service one of its commands.
    """

    async def listed(_request: Request) -> Response:
        return as_json(await ask("approvals"))

    async def one(request: Request) -> Response:
        return await _told(lambda: ask("approval", id=request.path_params["id"]))

    async def approve(request: Request) -> Response:
        return await _answered("approve", request, ask)

    async def deny(request: Request) -> Response:
        return await _answered("deny", request, ask)

    return [
        Route("/api/v1/approvals", listed, methods=["GET"]),
        Route("/api/v1/approvals/{id}", one, methods=["GET"]),
        Route("/api/v1/approvals/{id}/approve", approve, methods=["POST"]),
        Route("/api/v1/approvals/{id}/deny", deny, methods=["POST"]),
    ]


async def _answered(command: str, request: Request, ask: Ask) -> Response:
    """What becomes of an answer. A page of another origin cannot send JSON without asking first, which is refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type: allowed is application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"allowed are {MOST_BYTES} bytes")
    try:
        said = msgspec.json.decode(body, type=AnswerBody)
    except msgspec.DecodeError as error:
        return problem(HTTPStatus.BAD_REQUEST, f"{error}; allowed is an object of by, reason and plan, all text")
    id = request.path_params["id"]
    return await _told(lambda: ask(command, id=id, by=said.by, reason=said.reason, plan=said.plan))


async def _told(answer: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
    try:
        return as_json(await answer())
    except NotFound as error:
        return problem(HTTPStatus.NOT_FOUND, str(error))
    except ApprovalRefused as error:
        return problem(HTTPStatus.CONFLICT, str(error))
    except StorageError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
