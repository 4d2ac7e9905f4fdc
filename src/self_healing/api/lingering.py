"""Refusing what is still being sent, so that its sender hears why.

A request is often refused before its body was read: it is too large, or there is no room. Where the connection ends
with the answer, closing it at once would reset it, and a reset takes the answer along. The sender would see a broken
line, and send the same again. So the rest is read first, and thrown away.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S: Final = 5.0
"""So long is the rest of a body read, as long as a connection is kept that stays open."""


class Lingering:
    """Answers what `app` answers, and hears its sender out before the connection is closed.

    Args:
        app: what is served.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if not _ends_the_connection(scope):
            await self._app(scope, receive, send)  # what is kept open is read on by the server itself
            return
        body = _Body(receive)

        async def answer(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if last and not body.ended:
                await send({**message, "more_body": True})
                await body.throw_away()
                message = {"type": "http.response.body", "more_body": False}
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A request's body, as it is read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.ended = not message.get("more_body", False)
        return message

    async def throw_away(self) -> None:
        """Read what is left, within LINGER_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self.ended:
                    await self.receive()


def _ends_the_connection(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    return scope["http_version"] == "1.0" or "close" in Headers(scope=scope).get("connection", "").lower()
