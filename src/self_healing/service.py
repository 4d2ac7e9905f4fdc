"""The service: build the loop, turn it on the grid, answer on the socket, and stop cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from self_healing.actions.effect import Effect
from self_healing.actions.runner import Executor, LocalExecutor
from self_healing.clock import SECOND_US, Clock, from_us, to_us
from self_healing.config import Settings
from self_healing.dashboard.changes import Changes
from self_healing.errors import StorageError, TurnFailed
from self_healing.filenames import SEGMENTS
from self_healing.handoffs.channel import Channel
from self_healing.heartbeat import Heartbeat
from self_healing.loading import Loaded
from self_healing.local_socket import SOCKET, listen
from self_healing.loop.health import news
from self_healing.model import Incident, Note
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.reloading import LOOK_S, REFUSED, Configuration, Reloader
from self_healing.surface import COMMANDS, Surface
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.intake import Receipt

if TYPE_CHECKING:
    from self_healing.api.conversion import Conversion
    from self_healing.api.server import Server

RETRY_S = 1.0
"""How long the service waits, in real seconds, before it opens a state again that could not be written."""

CHECK_S = 60.0
"""How long a check waits, in real seconds, for the effects that it began."""

SUMMARY_EVERY = timedelta(hours=1)


class Service:
    """Turns the loop until it is told to stop; builds a new one on the same state when a write fails.

    Args:
        settings: the configuration.
        clock: the time.
        stop: set it to end the service.
        channel: stands in place of the files in ``logs/handoffs``, which every handoff has.
        crash: called at named points; for crash tests.
        on_note: hears every new line of an incident's timeline.
        on_health: hears the status, and one line on each issue that is new or over.
        on_reload: hears what came of each reload in a word, and of what.
        configuration: where the settings came from; followed while the service runs.
        hangup: set it to have the configuration read anew.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        stop: asyncio.Event,
        channel: Channel | None = None,
        crash: Callable[[str], None] = lambda _point: None,
        on_note: Callable[[Incident, Note], None] | None = None,
        on_health: Callable[[str, str], None] = lambda _status, _news: None,
        on_reload: Callable[[str, str], None] = lambda _outcome, _news: None,
        configuration: Configuration | None = None,
        hangup: asyncio.Event | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.failures = 0  # writes that failed, since the start
        self._failed = False  # for a reason that nobody foresaw
        self.missed_ticks = 0  # instants of the grid that were passed over, since the start
        self._stop = stop
        self._channel = channel
        self._crash = crash
        self._on_note = on_note
        self._on_health = on_health
        self._issues: list[str] = []  # as they were told last
        self._recovered = False  # whether what an earlier loop left was taken up
        self._started_at = clock.now()
        self._server: Server | None = None
        self._conversion: Conversion | None = None
        self.changes = Changes()
        self._heartbeat = Heartbeat(settings.heartbeat, environment=settings.environment)
        self._commits = 0  # that were told as changes
        self._hangup = hangup or asyncio.Event()
        self.loop = self._build(settings)
        self.reloader = None if configuration is None else Reloader(configuration, lambda: self.loop, on_reload)
        self._summary_at = clock.now()

    def _build(self, settings: Settings, loaded: Loaded | None = None) -> SelfHealingOrchestrator:
        def local(effect: Effect, limits: Callable[[], Any]) -> Executor:
            return LocalExecutor(effect, limits)

        loop = SelfHealingOrchestrator.open(
            settings,
            clock=self.clock,
            executor=local,
            channel=self._channel,
            started_at=self._started_at,
            crash=self._crash,
            on_note=self._on_note,
            around=self._around,
            loaded=loaded,
        )
        if self.settings.server.listens:
            loop.receiving.open()
        loop.logs.orchestrator.info("started", spec_version=loop.spec.version, mode=settings.actions.mode.value)
        return loop

    def _around(self) -> list[str]:
        """What is wrong with what the service does beside the loop."""
        beside = (each for each in (self._server, self._conversion, self._heartbeat) if each is not None)
        return [problem for each in beside for problem in each.problems]

    async def listen(self) -> Server | None:
        """Open the ports; None when there is none to open. Raises ConfigError when one cannot be opened."""
        if not self.settings.server.listens:
            return None
        # Only here: it brings libraries along that nothing else needs.
        from self_healing.api.conversion import Conversion
        from self_healing.api.server import Server
        from self_healing.explaining.explain import Question
        from self_healing.explaining.explain import explain as explained
        from self_healing.telemetry.query.files import Places

        turning = asyncio.get_running_loop()

        async def ask(command: str, **arguments: Any) -> dict[str, Any]:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.call(command, arguments), turning))

        def submit(batch: Encoded) -> Future[Receipt]:
            return self.loop.receiving.intake.submit(batch)  # the loop's of this moment

        def asked(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return asyncio.run_coroutine_threadsafe(self.call(command, arguments), turning).result()

        def explain(question: Question) -> dict[str, Any]:
            return explained(self.loop.settings, question, now=self.clock.now(), ask=asked)

        places = Places(telemetry=self.settings.telemetry.dir, segments=self.settings.storage.state_dir / SEGMENTS)
        self._conversion = Conversion(self.clock.now, unforeseen=self._not_converted)
        server = Server(
            self.settings.server,
            submit=submit,
            conversion=self._conversion,
            ask=ask,
            explain=explain,
            verify=self._verified,
            places=places,
            changes=self.changes,
            now=self.clock.now,
            snapshot=lambda: self.loop.published.snapshot,
            environment=self.settings.environment,
        )
        await asyncio.to_thread(server.start)
        self._server = server
        return server

    def _not_converted(self, error: Exception) -> None:
        self.loop.logs.orchestrator.error("not_converted", why=repr(error), exc_info=error)

    def _verified(self) -> dict[str, Any]:
        """Whether the audit log is whole, by a connection of its own."""
        from self_healing.constitution.checkpoints import verified

        return verified(self.settings.storage.state_dir, self.settings.storage.logs_dir)

    async def call(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer one command that came by the socket."""
        if command == "audit" and not arguments:
            # A log of years takes seconds, in which the loop must not miss a turn: it is read aside.
            return await asyncio.to_thread(self._verified)
        surface = Surface(self.loop, refused={} if self._server is None else self._server.refused)
        if command in COMMANDS and COMMANDS[command].aside:
            answer = await asyncio.to_thread(surface.call, command, arguments)
        else:
            answer = surface.call(command, arguments)
        if COMMANDS[command].writes:
            self.changes.changed()
        if command != "check":
            return answer
        # Its own: while its effects are under way, another check may be made.
        loop, check = self.loop, self.loop.last_check
        with suppress(TimeoutError):  # what is not there by then is shown as it stands
            await asyncio.wait_for(loop.executor.drain(), CHECK_S)
        return loop.checked(check)

    async def run(self) -> None:
        """Turn the loop until the stop is set, and follow the configuration meanwhile."""
        following = asyncio.ensure_future(self.follow())
        try:
            while not self._stop.is_set():
                await self.turn()
                await self._wait()
                if following.done():
                    following.result()
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def follow(self) -> None:
        """Look now and then whether the configuration changed, and at once when told to, until the stop is set."""
        while self.reloader is not None and not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hangup.wait(), LOOK_S)
            if self._hangup.is_set():
                self._hangup.clear()
                await self.reloader.reload("SIGHUP asked for it")
            elif not await self.reloader.look():
                continue
            self._tell_health()  # at once: what is mended before the next turn was wrong all the same

    async def turn(self) -> None:
        """One cycle, or as many as it takes to catch up; the loop is built anew when a write failed.

        Raises:
            TurnFailed: it failed otherwise.
        """
        try:
            if not self._recovered:
                self.loop.recover()
                self._recovered = True
            while not self._turned() and not self._stop.is_set():
                await asyncio.sleep(0)
            if self.loop.receiving.due:
                await asyncio.to_thread(self.loop.look_at_ways_in)
            status = self._tell_health()
            if self.loop.commits != self._commits:
                self._commits = self.loop.commits
                self.changes.changed()
            self._heartbeat.beat(self.clock.now(), status)
        except StorageError as error:
            self.failures += 1
            self.loop.logs.orchestrator.error("not_committed", why=str(error), failures=self.failures)
            await self._reopen(str(error))
        except Exception as error:
            self._failed = True
            self.loop.logs.orchestrator.error("turn_failed", why=repr(error), exc_info=error)
            raise TurnFailed(error) from error

    def _tell_health(self) -> str:
        """Say what is new of the health, in the log and to whoever listens; returns the status."""
        health = self.loop.health()
        if health["issues"] != self._issues:  # also where nothing can be committed
            self.changes.changed()
        for line in news(self._issues, health["issues"]):
            self.loop.logs.orchestrator.info("health_changed", status=health["status"], news=line)
            if REFUSED not in line:  # the reload has told, with all that is wrong, and so does the one that mends it
                self._on_health(health["status"], line)
        self._issues = health["issues"]
        status: str = health["status"]
        return status

    def _turned(self) -> bool:
        """Turn once; whether everything there is was read."""
        now = self.clock.now()
        turn = self.loop.cycle(now)
        if now - self._summary_at >= SUMMARY_EVERY:
            self._summary_at = now
            self.loop.summarise(now)
        return turn.caught_up

    async def _reopen(self, why: str) -> None:
        """Go on from what did commit. Nothing is acknowledged until a lock is gone, or a disk has room.

        The old loop answers meanwhile, and says that it is unhealthy; so does the new one, until it has committed.
        """
        with suppress(StorageError):  # what broke is known already, and what is left is taken up anew
            await self.loop.executor.close()
        self.loop.close()
        self._tell_health()
        while not self._stop.is_set():
            await self._sleep(RETRY_S)
            try:
                # By the configuration that was followed last: what is on the disk now may be refused.
                before, self.loop = self.loop, self._build(self.loop.settings, self.loop.loaded)
                self.loop.stand_in_for(before, why)
                self._recovered = False
                return
            except StorageError as error:
                self.failures += 1
                self.loop.logs.orchestrator.error("not_opened", why=str(error), failures=self.failures)

    async def _sleep(self, seconds: float) -> None:
        """Wait for real seconds, or until the stop is set."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _wait(self) -> None:
        """Wait until the next instant of the grid, or until the stop is set."""
        grid_us = self.loop.spec.grid * SECOND_US
        now = self.clock.now()
        next_us = (to_us(now) // grid_us + 1) * grid_us
        if self.loop.evaluated_us:
            self.missed_ticks += max((next_us - self.loop.evaluated_us) // grid_us - 1, 0)
        sleeping = asyncio.ensure_future(self.clock.sleep((from_us(next_us) - now).total_seconds()))
        stopping = asyncio.ensure_future(self._stop.wait())
        _, left = await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    async def close(self) -> None:
        """Let what is under way finish, within a bound, and give the state back."""
        try:
            if self._conversion is not None:
                await asyncio.to_thread(self._conversion.close)
        finally:
            await self._rest()

    async def _rest(self) -> None:
        try:
            await self.loop.executor.close()
            if not self._failed:  # else what is in memory is not to be written
                self.loop.rest()
                self.loop.summarise(self.clock.now())
                self.loop.seal()
            self.loop.logs.orchestrator.info("stopped", missed_ticks=self.missed_ticks, failures=self.failures)
        finally:
            self.loop.close()


async def serve(
    settings: Settings,
    *,
    clock: Clock,
    stop: asyncio.Event,
    channel: Channel | None = None,
    crash: Callable[[str], None] = lambda _point: None,
    ready: Callable[[dict[str, str]], None] | None = None,
    on_note: Callable[[Incident, Note], None] | None = None,
    on_health: Callable[[str, str], None] = lambda _status, _news: None,
    on_reload: Callable[[str, str], None] = lambda _outcome, _news: None,
    configuration: Configuration | None = None,
    hangup: asyncio.Event | None = None,
) -> None:
    """Run the service until `stop` is set.

    Args:
        settings: the configuration.
        clock: the time.
        stop: set it to end the service; what is under way may finish, within a bound.
        channel: stands in place of the files in ``logs/handoffs``, which every handoff has.
        crash: called at named points; for crash tests.
        ready: called once the state is open and everything listens; gets the addresses of the ports by their settings.
        on_note: hears every new line of an incident's timeline.
        on_health: hears the status, and one line on each issue that is new or over.
        on_reload: hears what came of each reload in a word, and of what.
        configuration: where the settings came from; followed while the service runs.
        hangup: set it to have the configuration read anew.

    Raises:
        ConfigError: the spec is refused, or a port cannot be opened.
        StateBusy, StateError, StateCorrupt: the state cannot be used.
        StorageError: the state could not be written at the very end.
        TurnFailed: a turn of the loop failed for a reason that nobody foresaw.
    """
    async with AsyncExitStack() as closing:
        service = Service(
            settings,
            clock=clock,
            stop=stop,
            channel=channel,
            crash=crash,
            on_note=on_note,
            on_health=on_health,
            on_reload=on_reload,
            configuration=configuration,
            hangup=hangup,
        )
        closing.push_async_callback(service.close)
        asked = await listen(settings.storage.state_dir / SOCKET, service.call)
        closing.push_async_callback(asked.wait_closed)
        closing.callback(asked.close)
        server = await service.listen()
        if server is not None:
            closing.push_async_callback(asyncio.to_thread, server.stop)
        if ready is not None:
            ready({} if server is None else server.addresses)
        await service.run()
