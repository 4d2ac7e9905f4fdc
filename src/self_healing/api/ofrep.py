"""OFREP, the OpenFeature remote protocol: any OpenFeature client in any language reads the directives.

The targeting key is the agent, and each setting is a flag. Where nothing is in force the answer has no value and the
reason DEFAULT, so a client goes on with its own. What is answered was published with the last commit: nobody waits for
the loop, and whatever is over at the instant of the request does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from self_healing.model import Snapshot
from self_healing.problems import unknown
from self_healing.spec import DIRECTIVES

LONGEST: Final = 65_536
"""So many bytes a request may have; a context is a few names."""


class _Refused(Exception):
    """A request that cannot be answered: the error's code, and what is wrong."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code


def routes(snapshot: Callable[[], Snapshot], now: Callable[[], datetime]) -> list[Route]:
    """The routes of the protocol.

    Args:
        snapshot: what was published last.
        now: the present instant.
    """

    async def one(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            if key not in DIRECTIVES:
                raise _Refused("FLAG_NOT_FOUND", f"flag {key!r}: {unknown(key, tuple(DIRECTIVES))}")
            return _json(_flag(key, snapshot().get(await _agent(request), {}), now()))
        except _Refused as refused:
            return _refusal(refused, key)

    async def all_of_them(request: Request) -> Response:
        try:
            settings, at = snapshot().get(await _agent(request), {}), now()
        except _Refused as refused:
            return _refusal(refused, None)
        body = msgspec.json.encode({"flags": [_flag(key, settings, at) for key in DIRECTIVES]})
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        asked = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if tag in asked or asked == ["*"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return [
        Route("/ofrep/v1/evaluate/flags/{key}", one, methods=["POST"]),
        Route("/ofrep/v1/evaluate/flags", all_of_them, methods=["POST"]),
    ]


async def _agent(request: Request) -> str:
    """Whose settings are asked for. Raises _Refused: that is not said."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise _Refused("INVALID_CONTEXT", f"the request is longer than {LONGEST} bytes; send the targetingKey only")
    try:
        asked = msgspec.json.decode(bytes(body)) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused("PARSE_ERROR", f"the request is no JSON: {error}") from error
    context = asked.get("context", {}) if isinstance(asked, dict) else None
    if not isinstance(context, dict):
        raise _Refused("INVALID_CONTEXT", 'the context is no object; send {"context": {"targetingKey": "AGENT"}}')
    key = context.get("targetingKey")
    if key is None or key == "":
        raise _Refused("TARGETING_KEY_MISSING", "context.targetingKey is missing; it is the agent's name")
    if not isinstance(key, str):
        raise _Refused("INVALID_CONTEXT", f"context.targetingKey: {key!r}: allowed is the agent's name, a text")
    return key


def _flag(key: str, settings: dict[str, list[dict[str, Any]]], at: datetime) -> dict[str, Any]:
    """What one setting is at that instant: the safest value that is not over."""
    for entry in settings.get(key, ()):
        if entry["expires_unix_s"] > at.timestamp():
            metadata = {name: entry[name] for name in ("owner", "reason", "expires_at", "expires_unix_s", "id")}
            return {
                "key": key,
                "value": entry["value"],
                "reason": "TARGETING_MATCH",
                "variant": entry["id"],
                "metadata": metadata,
            }
    return {"key": key, "reason": "DEFAULT", "variant": "default", "metadata": {}}


def _refusal(refused: _Refused, key: str | None) -> Response:
    told = {"errorCode": refused.code, "errorDetails": str(refused)}
    status = HTTPStatus.NOT_FOUND if refused.code == "FLAG_NOT_FOUND" else HTTPStatus.BAD_REQUEST
    return _json(told if key is None else {"key": key, **told}, status)


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
