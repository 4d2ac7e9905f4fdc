"""The service: build the loop, turn it on the grid, answer on the socket, and stop cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from self_healing.actions.effect import Effect
from self_healing.actions.runner import Executor, LocalExecutor
from self_healing.clock import SECOND_US, Clock, from_us, to_us
from self_healing.config import Settings
from self_healing.errors import StorageError
from self_healing.local_socket import SOCKET, listen
from self_healing.model import Incident, Note
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.surface import Surface

RETRY_S = 1.0
"""How long the service waits, in real seconds, before it opens a state again that could not be written."""

SUMMARY_EVERY = timedelta(hours=1)


class Service:
    """Turns the loop until it is told to stop; builds a new one on the same state when a write fails.

    Args:
        settings: the configuration.
        clock: the time.
        on_note: hears every new line of an incident's timeline.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock, on_note: Callable[[Incident, Note], None] | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._on_note = on_note
        self.loop = self._build()
        self._summary_at = clock.now()
        self.failures = 0

    def _build(self) -> SelfHealingOrchestrator:
        def local(effect: Effect, limits: Callable[[], Any]) -> Executor:
            return LocalExecutor(effect, limits)

        loop = SelfHealingOrchestrator.open(
            self.settings, clock=self.clock, executor=local, on_note=self._on_note
        )
        loop.logs.orchestrator.info("started", spec_version=loop.spec.version, mode=self.settings.actions.mode.value)
        return loop

    def call(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer one command that came by the socket."""
        answer = Surface(self.loop).call(command, arguments)
        if self.loop.overridden:
            self._rebuild()
        return answer

    def _rebuild(self) -> None:
        self.loop.close()
        self.loop = self._build()

    async def turn(self) -> None:
        """One cycle; a write that failed is logged, and the loop is built anew from what did commit."""
        now = self.clock.now()
        try:
            turn = self.loop.cycle(now)
            while not turn.caught_up:
                await asyncio.sleep(0)
                turn = self.loop.cycle(self.clock.now())
            if now - self._summary_at >= SUMMARY_EVERY:
                self._summary_at = now
                self.loop.summarise(now)
        except StorageError as error:
            self.failures += 1
            self.loop.logs.orchestrator.error("not_committed", why=str(error), failures=self.failures)
            await asyncio.sleep(RETRY_S)
            await self._reopen()

    async def _reopen(self) -> None:
        self.loop.close()
        while True:
            try:
                self.loop = self._build()
                self.loop.recover()
                return
            except StorageError:
                # Nothing is acknowledged meanwhile; the disk may have room again, or the lock be gone.
                await asyncio.sleep(RETRY_S)

    async def wait(self, stop: asyncio.Event) -> None:
        """Sleep until just after the next instant of the grid, or until `stop` is set."""
        grid_us = self.loop.spec.grid * SECOND_US
        now = self.clock.now()
        next_us = (to_us(now) // grid_us + 1) * grid_us
        missed = (next_us - self.loop.evaluated_us) // grid_us - 1
        if self.loop.evaluated_us and missed > 1:
            self.loop.missed_ticks += missed - 1
        sleeping = asyncio.ensure_future(self.clock.sleep((from_us(next_us) - now).total_seconds()))
        stopping = asyncio.ensure_future(stop.wait())
        _, left = await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def close(self) -> None:
        """Let what is under way finish, within a bound, and give the state back."""
        try:
            await self.loop.executor.close()
            self.loop.summarise(self.clock.now())
            self.loop.logs.orchestrator.info("stopped")
        finally:
            self.loop.close()


async def serve(
    settings: Settings,
    *,
    clock: Clock,
    stop: asyncio.Event,
    ready: Callable[[], None] | None = None,
    on_note: Callable[[Incident, Note], None] | None = None,
) -> None:
    """Run the service until `stop` is set.

    Args:
        settings: the configuration.
        clock: the time.
        stop: set it to end the service; what is under way may finish, within a bound.
        ready: called once the state is open and the socket listens.
        on_note: hears every new line of an incident's timeline.

    Raises:
        ConfigError: the spec is refused.
        StateBusy, StateError: the state cannot be used.
    """
    service = Service(settings, clock=clock, on_note=on_note)
    server = None
    try:
        server = await listen(settings.storage.state_dir / SOCKET, service.call)
        service.loop.recover()
        if ready is not None:
            ready()
        while not stop.is_set():
            await service.turn()
            await service.wait(stop)
    finally:
        if server is not None:
            server.close()
            await server.wait_closed()
        await service.close()
