"""Changes: tells whoever follows that something is new.

Pages and programs that follow are told that there is something new, not what: they then ask for what they show. So any
number of them costs one small message each, and nobody is ever shown half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Final

BEAT_S: Final = 5.0
"""After so long without a change the stream says that it lives; a page that hears nothing knows that it is stale."""

SPACED_S: Final = 0.5
"""However often things change, those who follow are told no more often than this."""


class Changes:
    """Counts changes; told on one thread, followed on another's event loop."""

    def __init__(self) -> None:
        self.version = 0
        self._counting = threading.Lock()
        self._followers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._ended = False

    def changed(self) -> None:
        """Something is new. Safe on any thread."""
        with self._counting:
            self.version += 1
        self._wake()

    def end(self) -> None:
        """Let everybody who follows go; safe to call twice."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        for event, loop in list(self._followers.items()):
            with contextlib.suppress(RuntimeError):  # the loop is closed by now: nobody follows there any more
                loop.call_soon_threadsafe(event.set)

    async def follow(self) -> AsyncIterator[int | None]:
        """The version now, then each that comes; None where nothing changed for a while."""
        event = asyncio.Event()
        self._followers[event] = asyncio.get_running_loop()
        try:
            yield self.version
            while not self._ended:
                try:
                    await asyncio.wait_for(event.wait(), BEAT_S)
                except TimeoutError:
                    yield None
                    continue
                event.clear()
                if not self._ended:
                    yield self.version
                    await asyncio.sleep(SPACED_S)
        finally:
            del self._followers[event]
