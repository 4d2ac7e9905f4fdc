"""Following what is new, by Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from self_healing.api.doorkeeper import HOLDS
from self_healing.api.v1.source import Here
from self_healing.dashboard.changes import Changes

STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A stream that does not end",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


routes = APIRouter(tags=["changes"])


@routes.get("/changes", response_class=StreamingResponse, responses=STREAM)
async def changes(here: Here, request: Request) -> StreamingResponse:
    """A stream of Server-Sent Events: `changed` with a number that grows whenever something is new, at most twice
    a second, and `alive` every 5 s without. Whoever hears of a change asks again for what they show."""
    holds: Callable[[], bool] = request.scope.get(HOLDS, lambda: True)
    return StreamingResponse(
        _stream(here.changes, holds), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _stream(changes: Changes, holds: Callable[[], bool]) -> AsyncIterator[str]:
    """What is told, for as long as whoever follows is logged in."""
    async for version in changes.follow():
        if not holds():
            return
        yield "event: alive\ndata:\n\n" if version is None else f"event: changed\nid: {version}\ndata: {version}\n\n"
